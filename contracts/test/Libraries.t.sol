// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Lanes} from "../src/Lanes.sol";
import {SignedUpdates} from "../src/SignedUpdates.sol";
import {Base} from "./lib/Base.sol";

/// @dev The bit arithmetic and the batch recovery against slow and plain versions of themselves.
contract LibrariesTest is Base {
    mapping(address => uint256) private table;

    function testFuzz_popcount(uint256 word) public pure {
        word &= Lanes.BITS;
        uint256 naive = 0;
        for (uint256 i = 0; i < 200; ++i) naive += (word >> i) & 1;
        _eq(Lanes.popcount(word), naive, "popcount");
    }

    function test_popcount_at_the_ends() public pure {
        _eq(Lanes.popcount(0), 0, "none");
        _eq(Lanes.popcount(Lanes.BITS), 200, "a full lane");
        _eq(Lanes.popcount(type(uint256).max >> 1), 255, "the most it may be asked");
    }

    function testFuzz_lane_fields(uint16 round, uint40 deadline, uint256 settled) public pure {
        settled &= Lanes.BITS;
        uint256 lane = Lanes.open(round, deadline, settled);
        _eq(Lanes.roundOf(lane), round, "round");
        _eq(Lanes.deadlineOf(lane), deadline, "deadline");
        _eq(lane & Lanes.BITS, settled, "bits");
    }

    function test_lane_count() public pure {
        _eq(Lanes.count(0), 0, "none");
        _eq(Lanes.count(1), 1, "one");
        _eq(Lanes.count(200), 1, "a full one");
        _eq(Lanes.count(201), 2, "one more");
        _eq(Lanes.count(1000), 5, "the most");
    }

    /// @dev External, so that the update and the signature are in calldata.
    function recover(bytes32 domain, uint256 taskId, uint16 round, bytes calldata update, bytes calldata signature)
        external
        view
        returns (address, uint256, uint256)
    {
        uint256 u;
        uint256 s;
        uint256 t;
        assembly {
            u := update.offset
            s := signature.offset
            t := table.slot
        }
        uint256 words = SignedUpdates.prepare(domain, taskId, round, t);
        (uint256 account, uint256 word, uint256 samples) = SignedUpdates.signer(words, u, s);
        return (address(uint160(account)), word, samples);
    }

    struct Case {
        uint256 key;
        bytes32 domain;
        uint256 taskId;
        uint16 round;
        bytes32 updateHash;
        uint32 samples;
    }

    function testFuzz_recovery_agrees_with_openzeppelin(Case memory c, bytes32 noise) public {
        c.key = 1 + c.key % 1e60;
        bytes32 digest = _digest(c);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(c.key, digest);
        bytes32 vs = bytes32(uint256(s) | (uint256(v - 27) << 255));
        table[vm.addr(c.key)] = 4711;
        _recovers(c, r, vs, vm.addr(c.key));
        // Any other r: the same answer as OpenZeppelin, a stranger or nobody.
        (address expected,,) = ECDSA.tryRecover(digest, noise, vs);
        _recovers(c, noise, vs, expected);
    }

    function _digest(Case memory c) private pure returns (bytes32) {
        bytes32 typehash = keccak256("Update(uint256 taskId,uint16 round,bytes32 updateHash,uint32 samples)");
        return MessageHashUtils.toTypedDataHash(
            c.domain, keccak256(abi.encode(typehash, c.taskId, c.round, c.updateHash, c.samples))
        );
    }

    function _recovers(Case memory c, bytes32 r, bytes32 vs, address expected) private view {
        bytes memory update = abi.encodePacked(uint16(3), c.updateHash, c.samples);
        (address signer, uint256 word, uint256 samples) =
            this.recover(c.domain, c.taskId, c.round, update, abi.encodePacked(r, vs));
        _eq(signer, expected, "signer");
        _eq(word, table[expected], "value in the table");
        _eq(samples, c.samples, "samples");
    }
}
