// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Lanes: everything submitUpdate must check and change about a round, in one storage slot
/// @notice 200 members share a lane: round (16 bits) | update deadline (40 bits) | a bit per member
/// (200 bits), from the most significant bit down. A set bit: submitted in this round, or no longer
/// awaited. So the replay guard, the right round, the deadline and the count of who is missing cost
/// one SSTORE of a slot that is never zero, however many members there are.
library Lanes {
    uint256 internal constant WIDTH = 200;
    uint256 internal constant BITS = (1 << WIDTH) - 1;

    /// @dev A fresh lane for a round; `settled` holds the bits of members that are not awaited.
    function open(uint16 round, uint40 deadline, uint256 settled) internal pure returns (uint256) {
        return (uint256(round) << 240) | (uint256(deadline) << WIDTH) | settled;
    }

    function roundOf(uint256 lane) internal pure returns (uint16) {
        return uint16(lane >> 240);
    }

    function deadlineOf(uint256 lane) internal pure returns (uint40) {
        return uint40(lane >> WIDTH);
    }

    /// @dev Number of lanes for `members` member indices.
    function count(uint256 members) internal pure returns (uint256) {
        return (members + WIDTH - 1) / WIDTH;
    }

    /// @dev Number of set bits of a word with at most 255 of them (sideways addition: pairs, nibbles,
    /// bytes, then one multiplication gathers the bytes in the top one).
    function popcount(uint256 word) internal pure returns (uint256) {
        unchecked {
            word -= (word >> 1) & (type(uint256).max / 3);
            word = (word & (type(uint256).max / 5)) + ((word >> 2) & (type(uint256).max / 5));
            word = (word + (word >> 4)) & (type(uint256).max / 17);
            return (word * (type(uint256).max / 255)) >> 248;
        }
    }
}
