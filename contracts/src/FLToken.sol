// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title FLToken: what rewards and stakes are paid in
/// @notice ERC-20 with ERC-2612 permits and 18 decimals. The whole supply is minted once, to the
/// deployer; nobody can mint more, burn, pause or freeze, so a stake that is due can always be paid.
contract FLToken is ERC20, ERC20Permit {
    /// @param initialSupply Tokens minted to the deployer, in wei (10^-18 FLT).
    constructor(uint256 initialSupply) ERC20("Federated Learning Token", "FLT") ERC20Permit("Federated Learning Token") {
        _mint(msg.sender, initialSupply);
    }
}
