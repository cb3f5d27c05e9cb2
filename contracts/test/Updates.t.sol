// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {FLCoordinator} from "../src/FLCoordinator.sol";
import {Base} from "./lib/Base.sol";
import {Vm} from "./lib/Vm.sol";

/// @dev Submitting updates, directly and in signed batches.
contract UpdatesTest is Base {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function test_submit_once_by_a_member_within_the_cap() public {
        uint256 id = _running(2, 2, 1);
        address p = _participant(0);
        bytes32 h = keccak256("hash");
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, id, address(this)));
        flc.submitUpdate(id, 1, h, 1);
        vm.prank(p);
        vm.expectRevert(abi.encodeWithSelector(SamplesOutOfRange.selector, p, 0, CAP));
        flc.submitUpdate(id, 1, h, 0);
        vm.prank(p);
        vm.expectRevert(abi.encodeWithSelector(SamplesOutOfRange.selector, p, CAP + 1, CAP));
        flc.submitUpdate(id, 1, h, CAP + 1);
        vm.prank(p);
        vm.expectRevert(abi.encodeWithSelector(ZeroHash.selector, "updateHash"));
        flc.submitUpdate(id, 1, 0, 1);
        vm.expectEmit(address(flc));
        emit UpdateSubmitted(id, p, 1, h, CAP);
        vm.prank(p);
        flc.submitUpdate(id, 1, h, CAP);
        vm.prank(p);
        vm.expectRevert(abi.encodeWithSelector(AlreadySubmitted.selector, id, 1, p));
        flc.submitUpdate(id, 1, h, CAP);
    }

    function test_submit_only_in_the_current_round_until_the_deadline() public {
        uint256 id = _running(2, 2, 1);
        uint256 deadline = block.timestamp + STEP;
        vm.prank(_participant(0));
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, id, 1, 2));
        flc.submitUpdate(id, 2, keccak256("x"), 1);
        vm.warp(deadline);
        _submit(id, 1, 0); // the deadline itself is in time
        vm.warp(deadline + 1);
        vm.prank(_participant(1));
        vm.expectRevert(abi.encodeWithSelector(DeadlinePassed.selector, id, deadline, deadline + 1));
        flc.submitUpdate(id, 1, keccak256("x"), 1);
    }

    function test_submit_before_the_start_is_refused() public {
        uint256 id = _create(_params(2, 2, 1));
        _join(id, 0);
        vm.prank(_participant(0));
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, id, 0, 1));
        flc.submitUpdate(id, 1, keccak256("x"), 1);
        vm.prank(_participant(0));
        vm.expectRevert(abi.encodeWithSelector(DeadlinePassed.selector, id, 0, block.timestamp));
        flc.submitUpdate(id, 0, keccak256("x"), 1);
    }

    // --------------------------------------------------------------------- relayed

    function test_batch_by_anyone_counts_like_direct_submission() public {
        uint256 id = _running(2, 3, 1);
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, 3);
        vm.expectEmit(address(flc));
        emit UpdatesRelayed(id, 1, u);
        flc.submitUpdatesBySig(id, 1, u, s);
        RoundView memory r = flc.roundState(id);
        _eq(r.updates, 3, "updates");
        _eq(r.awaited, 0, "awaited");
        vm.prank(_participant(1));
        vm.expectRevert(abi.encodeWithSelector(AlreadySubmitted.selector, id, 1, _participant(1)));
        flc.submitUpdate(id, 1, keccak256("x"), 1);
        _score(id, 1, 0);
    }

    /// Sending one of a batch's updates first must not block the others.
    function test_batch_skips_what_is_there_already() public {
        uint256 id = _running(2, 4, 1);
        _submit(id, 1, 1);
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, 4);
        (bytes memory first,) = _batch(id, 1, 0, 1);
        (bytes memory rest,) = _batch(id, 1, 2, 4);
        // The same update twice in one batch counts once.
        (u, s) = (bytes.concat(u, first), bytes.concat(s, new bytes(64)));
        vm.expectEmit(address(flc));
        emit UpdatesRelayed(id, 1, first);
        vm.expectEmit(address(flc));
        emit UpdatesRelayed(id, 1, rest);
        flc.submitUpdatesBySig(id, 1, u, s);
        _eq(flc.roundState(id).awaited, 0, "awaited");
        vm.expectRevert(abi.encodeWithSelector(NoNewUpdates.selector, id, 1));
        flc.submitUpdatesBySig(id, 1, u, s);
    }

    function test_batch_over_several_lanes_in_any_order() public {
        uint256 id = _running(1, 420, 1);
        (bytes memory u, bytes memory s) = (new bytes(0), new bytes(0));
        for (uint256 k = 0; k < 420; ++k) {
            uint256 i = k * 211 % 420; // jumps between the three lanes all the time
            (bytes memory one, bytes memory sig) = _signed(id, 1, uint16(i), _key(i), 7);
            (u, s) = (bytes.concat(u, one), bytes.concat(s, sig));
        }
        flc.submitUpdatesBySig(id, 1, u, s);
        RoundView memory r = flc.roundState(id);
        _eq(r.updates, 420, "updates");
        _eq(r.awaited, 0, "awaited");
        for (uint256 i = 0; i < 420; i += 13) require(flc.hasSubmitted(id, _participant(i)), "bit");
    }

    function test_batch_refuses_other_lengths() public {
        uint256 id = _running(1, 2, 1);
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, 1);
        _lengths(id, "", "");
        _lengths(id, u, "");
        _lengths(id, bytes.concat(u, hex"00"), s);
        _lengths(id, u, bytes.concat(s, hex"00"));
        _lengths(id, bytes.concat(u, u), s);
    }

    function _lengths(uint256 id, bytes memory u, bytes memory s) private {
        vm.expectRevert(abi.encodeWithSelector(BatchLength.selector, u.length, s.length));
        flc.submitUpdatesBySig(id, 1, u, s);
    }

    function test_batch_checks_round_deadline_and_cap() public {
        uint256 id = _running(2, 2, 1);
        (bytes memory u, bytes memory s) = _batch(id, 2, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, id, 1, 2));
        flc.submitUpdatesBySig(id, 2, u, s);
        for (uint32 samples = 0; samples <= CAP + 1; samples += CAP + 1) {
            (u, s) = _signed(id, 1, 0, _key(0), samples);
            vm.expectRevert(abi.encodeWithSelector(SamplesOutOfRange.selector, _participant(0), samples, CAP));
            flc.submitUpdatesBySig(id, 1, u, s);
        }
        (u, s) = _batch(id, 1, 0, 1);
        uint256 deadline = block.timestamp + STEP;
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(DeadlinePassed.selector, id, deadline, deadline + 1));
        flc.submitUpdatesBySig(id, 1, u, s);
    }

    /// Every bit of an update and of its signature matters.
    function testFuzz_batch_refuses_any_flipped_bit(uint256 bit) public {
        uint256 id = _running(2, 3, 1);
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, 1);
        bit %= (38 + 64) * 8;
        (bytes memory target, uint256 at) = bit < 38 * 8 ? (u, bit) : (s, bit - 38 * 8);
        target[at / 8] ^= bytes1(uint8(1 << (at % 8)));
        vm.expectRevert();
        flc.submitUpdatesBySig(id, 1, u, s);
        _eq(flc.roundState(id).updates, 0, "nothing counted");
    }

    function test_batch_names_the_index_of_a_bad_signature() public {
        uint256 id = _running(2, 3, 1);
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, 2);
        // Participant 0 signs for index 2.
        (bytes memory wrong, bytes memory sig) = _signed(id, 1, 2, _key(0), 1000);
        vm.expectRevert(abi.encodeWithSelector(InvalidSignature.selector, 2, _participant(0)));
        flc.submitUpdatesBySig(id, 1, bytes.concat(u, wrong), bytes.concat(s, sig));
        // r = 0 is no signature at all: nobody signed.
        vm.expectRevert(abi.encodeWithSelector(InvalidSignature.selector, 2, address(0)));
        flc.submitUpdatesBySig(id, 1, bytes.concat(u, wrong), bytes.concat(s, new bytes(64)));
        // A stranger signs well.
        (wrong, sig) = _signed(id, 1, 2, 0xbad, 1000);
        vm.expectRevert(abi.encodeWithSelector(InvalidSignature.selector, 2, vm.addr(0xbad)));
        flc.submitUpdatesBySig(id, 1, wrong, sig);
    }

    /// The replay guard is the member's bit, not the signature: another form of it is no second vote.
    function test_a_malleated_signature_cannot_count_twice() public {
        uint256 id = _running(2, 2, 1);
        bytes32 h = _hash(id, 1, _participant(0));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_key(0), flc.updateDigest(id, 1, h, 1000));
        bytes memory u = abi.encodePacked(uint16(0), h, uint32(1000));
        flc.submitUpdatesBySig(id, 1, u, abi.encodePacked(r, uint256(s) | (uint256(v - 27) << 255)));
        bytes32 high = bytes32(ORDER - uint256(s));
        vm.expectRevert(abi.encodeWithSelector(NoNewUpdates.selector, id, 1));
        flc.submitUpdatesBySig(id, 1, u, abi.encodePacked(r, high));
    }

    function test_batch_refuses_a_signed_zero_hash() public {
        uint256 id = _running(2, 2, 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_key(0), flc.updateDigest(id, 1, 0, 1000));
        bytes memory u = abi.encodePacked(uint16(0), bytes32(0), uint32(1000));
        vm.expectRevert(abi.encodeWithSelector(ZeroHash.selector, "updateHash"));
        flc.submitUpdatesBySig(id, 1, u, abi.encodePacked(r, uint256(s) | (uint256(v - 27) << 255)));
    }

    function test_signatures_are_bound_to_task_round_contract_and_chain() public {
        uint256 id = _running(2, 1, 1);
        uint256 other = _running(2, 1, 1); // the same participant, the same index
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, 1);
        _replayed(other, 1, u, s);
        flc.submitUpdatesBySig(id, 1, u, s);
        _score(id, 1, 0);
        _vote(id, 1, 0, keccak256("root"));
        _replayed(id, 2, u, s);
        (u, s) = _batch(id, 2, 0, 1);
        vm.chainId(1);
        _replayed(id, 2, u, s);
        vm.chainId(31337);
        FLCoordinator twin = new FLCoordinator(IERC20(address(token)));
        require(twin.domainSeparator() != flc.domainSeparator(), "domain");
        flc.submitUpdatesBySig(id, 2, u, s);
    }

    function _replayed(uint256 id, uint16 round, bytes memory u, bytes memory s) private {
        vm.expectPartialRevert(InvalidSignature.selector);
        flc.submitUpdatesBySig(id, round, u, s);
    }

    function test_domain_and_digest_follow_eip712() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("FLCoordinator"),
                keccak256("1"),
                block.chainid,
                address(flc)
            )
        );
        _eq(flc.domainSeparator(), domain, "domain");
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Update(uint256 taskId,uint16 round,bytes32 updateHash,uint32 samples)"),
                uint256(7),
                uint16(8),
                bytes32(uint256(9)),
                uint32(10)
            )
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", domain, structHash));
        _eq(flc.updateDigest(7, 8, bytes32(uint256(9)), 10), digest, "digest");
    }

    function test_batch_skips_members_that_left_and_refuses_unknown_indices() public {
        uint256 id = _running(2, 2, 1);
        vm.prank(_participant(0));
        flc.leave(id);
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, 2);
        flc.submitUpdatesBySig(id, 1, u, s);
        _eq(flc.roundState(id).updates, 1, "updates");
        (u, s) = _signed(id, 1, 5, _key(5), 1000);
        vm.expectRevert(abi.encodeWithSelector(InvalidSignature.selector, 5, _participant(5)));
        flc.submitUpdatesBySig(id, 1, u, s);
        (u, s) = _signed(id, 1, 300, _key(5), 1000); // a lane that was never opened
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, id, 0, 1));
        flc.submitUpdatesBySig(id, 1, u, s);
    }

    function testFuzz_batches_and_direct_submissions_mix(uint256 seed) public {
        uint256 n = 12;
        uint256 id = _running(1, uint16(n), 1);
        for (uint256 i = 0; i < n; ++i) {
            if ((seed >> i) & 1 == 1) _submit(id, 1, i);
        }
        (bytes memory u, bytes memory s) = _batch(id, 1, 0, n);
        if (seed & 0xfff == 0xfff) return;
        vm.recordLogs();
        flc.submitUpdatesBySig(id, 1, u, s);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bytes memory relayed;
        for (uint256 k = 0; k < logs.length; ++k) relayed = bytes.concat(relayed, abi.decode(logs[k].data, (bytes)));
        bytes memory expected;
        for (uint256 i = 0; i < n; ++i) {
            if ((seed >> i) & 1 == 1) continue;
            (bytes memory one,) = _batch(id, 1, i, i + 1);
            expected = bytes.concat(expected, one);
        }
        _eq(keccak256(relayed), keccak256(expected), "the relayed ones, in order");
        _eq(flc.roundState(id).updates, n, "updates");
    }
}
