// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev A token that misbehaves on demand.
contract HostileToken is ERC20 {
    enum Mode {
        Honest,
        Fee, // keeps 1 % of each transfer
        ReturnsFalse, // moves nothing and says so
        ReturnsNothing, // moves, returns no data (as USDT does)
        Reenters, // calls `target` with `payload` in the middle of a transfer
        Blocks // reverts transfers to `blocked`
    }

    Mode public mode;
    address public blocked;
    address private target;
    bytes private payload;
    bytes4 public refusal; // the error the call in the middle met; zero if it succeeded

    constructor() ERC20("Hostile", "HOS") {
        _mint(msg.sender, 1_000_000_000 ether);
    }

    function set(Mode mode_, address blocked_) external {
        (mode, blocked) = (mode_, blocked_);
    }

    function arm(address target_, bytes calldata payload_) external {
        (mode, target, payload, refusal) = (Mode.Reenters, target_, payload_, 0);
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return _hostile(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        _spendAllowance(from, msg.sender, value);
        return _hostile(from, to, value);
    }

    function _hostile(address from, address to, uint256 value) private returns (bool) {
        if (mode == Mode.ReturnsFalse) return false;
        require(mode != Mode.Blocks || to != blocked, "blocked");
        if (mode == Mode.Fee) {
            _transfer(from, address(this), value / 100);
            value -= value / 100;
        }
        _transfer(from, to, value);
        if (mode == Mode.Reenters) {
            (bool ok, bytes memory error) = target.call(payload);
            refusal = ok ? bytes4(0) : bytes4(error);
        }
        if (mode == Mode.ReturnsNothing) {
            assembly {
                return(0, 0)
            }
        }
        return true;
    }
}
