// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base} from "./lib/Base.sol";
import {Merkle} from "./lib/Merkle.sol";

/// @dev Joining, leaving, slashing, stakes.
contract MembersTest is Base {
    function test_join_takes_the_stake_once() public {
        uint256 id = _create(_params(3, 2, 1));
        _fund(_participant(0));
        vm.expectEmit(address(flc));
        emit ParticipantJoined(id, _participant(0), 0, CAP, STAKE);
        vm.prank(_participant(0));
        flc.join(id, CAP);
        _eq(token.balanceOf(_participant(0)), 10_000 ether - STAKE, "stake taken");
        MemberView memory m = flc.member(id, _participant(0));
        _is(m.status, MemberStatus.Active);
        _eq(m.samplesCap, CAP, "cap");
        _eq(m.stake, STAKE, "stake held");
        vm.prank(_participant(0));
        vm.expectRevert(abi.encodeWithSelector(AlreadyMember.selector, id, _participant(0)));
        flc.join(id, CAP);
        _solvent();
    }

    function test_join_refuses_the_full_the_late_and_the_capless() public {
        uint256 id = _create(_params(3, 2, 1));
        _fund(_participant(2));
        vm.prank(_participant(2));
        vm.expectRevert(abi.encodeWithSelector(OutOfRange.selector, "samplesCap", 0, 1, type(uint32).max));
        flc.join(id, 0);
        _join(id, 0);
        _join(id, 1);
        vm.prank(_participant(2));
        vm.expectRevert(abi.encodeWithSelector(TaskFull.selector, id, 2));
        flc.join(id, CAP);
        uint256 late = _create(_params(3, 2, 1));
        uint256 deadline = block.timestamp + STEP;
        vm.warp(deadline + 1);
        vm.prank(_participant(2));
        vm.expectRevert(abi.encodeWithSelector(DeadlinePassed.selector, late, deadline, deadline + 1));
        flc.join(late, CAP);
    }

    function test_joinWithPermit_needs_no_approval() public {
        uint256 id = _create(_params(3, 2, 1));
        address p = _participant(0);
        token.transfer(p, STAKE);
        (uint8 v, bytes32 r, bytes32 s) = _permit(0, STAKE, block.timestamp);
        vm.prank(p);
        flc.joinWithPermit(id, CAP, block.timestamp, v, r, s);
        _eq(token.balanceOf(p), 0, "stake taken");
        _solvent();
    }

    function test_joinWithPermit_survives_a_front_run_permit() public {
        uint256 id = _create(_params(3, 2, 1));
        address p = _participant(0);
        token.transfer(p, STAKE);
        (uint8 v, bytes32 r, bytes32 s) = _permit(0, STAKE, block.timestamp);
        token.permit(p, address(flc), STAKE, block.timestamp, v, r, s);
        vm.prank(p);
        flc.joinWithPermit(id, CAP, block.timestamp, v, r, s);
        _is(flc.member(id, p).status, MemberStatus.Active);
    }

    function test_joinWithPermit_with_a_bad_permit_and_no_allowance_fails() public {
        uint256 id = _create(_params(3, 2, 1));
        token.transfer(_participant(0), STAKE);
        (uint8 v, bytes32 r, bytes32 s) = _permit(1, STAKE, block.timestamp);
        vm.prank(_participant(0));
        vm.expectRevert();
        flc.joinWithPermit(id, CAP, block.timestamp, v, r, s);
    }

    function test_leave_while_open_returns_the_stake_and_frees_the_index() public {
        uint256 id = _create(_params(3, 4, 1));
        for (uint256 i = 0; i < 4; ++i) _join(id, i);
        _leave(id, 2, STAKE);
        _leave(id, 1, STAKE);
        _eq(token.balanceOf(_participant(1)), 10_000 ether, "stake back");
        _is(flc.member(id, _participant(1)).status, MemberStatus.None);
        _eq(flc.task(id).active, 2, "active");
        _eq(flc.task(id).members, 4, "indices stay");
        _join(id, 7);
        _eq(flc.member(id, _participant(7)).index, 1, "lowest free index");
        _join(id, 1);
        _eq(flc.member(id, _participant(1)).index, 2, "next free index");
        vm.expectRevert(abi.encodeWithSelector(TaskFull.selector, id, 4));
        flc.join(id, CAP);
        _solvent();
    }

    function _leave(uint256 id, uint256 i, uint96 returned) private {
        vm.expectEmit(address(flc));
        emit ParticipantLeft(id, _participant(i), returned);
        vm.prank(_participant(i));
        flc.leave(id);
    }

    /// Joining and leaving again and again must not use up the places of others.
    function test_leave_and_join_in_a_loop_uses_no_index_up() public {
        uint256 id = _create(_params(1, 3, 1));
        _join(id, 0);
        for (uint256 k = 0; k < 10; ++k) {
            _join(id, 1);
            _leave(id, 1, STAKE);
        }
        _join(id, 2);
        _join(id, 3);
        _eq(flc.task(id).members, 3, "indices handed out");
        _start(id);
        _submit(id, 1, 0);
        _submit(id, 1, 2);
        _submit(id, 1, 3);
        _score(id, 1, 0);
    }

    function test_indices_freed_and_not_taken_again_are_not_awaited() public {
        uint256 id = _create(_params(1, 3, 1));
        for (uint256 i = 0; i < 3; ++i) _join(id, i);
        _leave(id, 1, STAKE);
        _start(id);
        _submit(id, 1, 0);
        _eq(flc.roundState(id).awaited, 1, "awaited");
        _submit(id, 1, 2);
        vm.expectEmit(address(flc));
        emit ScoringOpened(id, 1, 2, uint40(block.timestamp + STEP));
        _score(id, 1, 0); // three scores: one per index
    }

    function test_free_indices_are_found_in_every_lane() public {
        uint256 id = _create(_params(1, 450, 1));
        for (uint256 i = 0; i < 420; ++i) _join(id, i);
        _leave(id, 410, STAKE);
        _leave(id, 205, STAKE);
        _join(id, 500);
        _eq(flc.member(id, _participant(500)).index, 205, "second lane");
        _join(id, 501);
        _eq(flc.member(id, _participant(501)).index, 410, "third lane");
        _join(id, 502);
        _eq(flc.member(id, _participant(502)).index, 420, "a new one");
    }

    function test_leave_while_running_keeps_the_stake_until_the_end() public {
        uint256 id = _running(2, 3, 1);
        _round(id, 1, 3, 1, POOL / 2);
        _leave(id, 1, 0);
        MemberView memory m = flc.member(id, _participant(1));
        _is(m.status, MemberStatus.Left);
        _eq(m.stake, STAKE, "stake still held");
        vm.prank(_participant(1));
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, id, _participant(1)));
        flc.submitUpdate(id, 2, keccak256("x"), 1);
        vm.prank(_participant(1));
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, id, _participant(1)));
        flc.leave(id);
        _eq(flc.roundState(id).awaited, 2, "awaited");
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Completed, TaskPhase.Running)
        );
        flc.returnStake(id, _participant(1));
        _claim(id, 3, POOL / 2, 1); // earned in round 1
        _submit(id, 2, 0);
        _submit(id, 2, 2);
        _score(id, 2, 0);
        _vote(id, 2, 0, keccak256("root"));
        _is(_phase(id), TaskPhase.Completed);
        flc.returnStake(id, _participant(1));
        _solvent();
    }

    function test_an_update_of_a_member_that_left_counts_no_more() public {
        uint256 id = _running(2, 2, 1);
        _submit(id, 1, 0);
        require(flc.hasSubmitted(id, _participant(0)), "submitted");
        require(!flc.hasSubmitted(id, _participant(1)), "not submitted");
        _leave(id, 0, 0);
        _eq(flc.roundState(id).updates, 0, "updates");
        _leave(id, 1, 0);
        require(flc.expirable(id), "nobody is left");
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(NoUpdates.selector, id, 1));
        flc.submitScores(id, 1, new bytes(8));
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, id, address(this)));
        flc.hasSubmitted(id, address(this));
    }

    function test_leave_needs_a_live_task() public {
        uint256 id = _create(_params(2, 2, 1));
        _join(id, 0);
        vm.prank(OPERATOR);
        flc.cancel(id);
        vm.prank(_participant(0));
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Running, TaskPhase.Cancelled)
        );
        flc.leave(id);
    }

    function test_slash_by_a_single_evaluator_burns_the_stake() public {
        uint256 id = _running(2, 2, 1);
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(ZeroHash.selector, "evidenceHash"));
        flc.slash(id, _participant(0), 0);
        vm.expectRevert(abi.encodeWithSelector(NotEvaluator.selector, id, address(this)));
        flc.slash(id, _participant(0), keccak256("evidence"));
        vm.expectEmit(address(flc));
        emit ParticipantSlashed(id, _participant(0), STAKE, keccak256("evidence"));
        vm.prank(_evaluator(0));
        flc.slash(id, _participant(0), keccak256("evidence"));
        _eq(token.balanceOf(address(0xdEaD)), STAKE, "burnt");
        _eq(flc.member(id, _participant(0)).stake, 0, "nothing held");
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, id, _participant(0)));
        flc.slash(id, _participant(0), keccak256("more"));
        _solvent();
    }

    function test_slash_needs_a_quorum_for_the_same_evidence() public {
        uint256 id = _running(2, 3, 3);
        bytes32 e = keccak256("evidence");
        vm.expectEmit(address(flc));
        emit SlashVoted(id, _participant(0), _evaluator(0), e);
        vm.prank(_evaluator(0));
        flc.slash(id, _participant(0), e);
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(AlreadySlashVoted.selector, id, _participant(0), _evaluator(0)));
        flc.slash(id, _participant(0), e);
        vm.prank(_evaluator(1));
        flc.slash(id, _participant(0), keccak256("other evidence"));
        vm.prank(_evaluator(1));
        flc.slash(id, _participant(1), e);
        _is(flc.member(id, _participant(0)).status, MemberStatus.Active);
        _is(flc.member(id, _participant(1)).status, MemberStatus.Active);
        vm.prank(_evaluator(2));
        flc.slash(id, _participant(0), e);
        _is(flc.member(id, _participant(0)).status, MemberStatus.Slashed);
        _eq(flc.roundState(id).awaited, 2, "awaited");
    }

    /// Leaving first does not save the stake.
    function test_slash_reaches_members_that_left() public {
        uint256 id = _running(2, 2, 1);
        _leave(id, 0, 0);
        vm.prank(_evaluator(0));
        flc.slash(id, _participant(0), keccak256("evidence"));
        _eq(flc.task(id).active, 1, "counted off once");
        _submit(id, 1, 1);
        _score(id, 1, 0);
        _solvent();
    }

    function test_slashed_members_keep_what_they_earned_and_lose_the_stake() public {
        uint256 id = _running(2, 2, 1);
        _round(id, 1, 2, 1, POOL / 2);
        vm.prank(_evaluator(0));
        flc.slash(id, _participant(0), keccak256("evidence"));
        uint256 before = token.balanceOf(_participant(0));
        _claim(id, 2, POOL / 2, 0);
        _eq(token.balanceOf(_participant(0)) - before, POOL / 4, "earned");
        vm.prank(_participant(0));
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, id, _participant(0)));
        flc.submitUpdate(id, 2, keccak256("x"), 1);
        _submit(id, 2, 1);
        _score(id, 2, 0);
        _vote(id, 2, 0, Merkle.root(_leaves(id, 2, POOL)));
        vm.expectRevert(abi.encodeWithSelector(NoStake.selector, id, _participant(0)));
        flc.returnStake(id, _participant(0));
        flc.returnStake(id, _participant(1));
        _solvent();
    }

    function test_a_task_without_stake_has_none_to_return() public {
        TaskParams memory p = _params(1, 2, 1);
        (p.stake, p.pool) = (0, 0);
        uint256 id = _create(p);
        vm.prank(_participant(0)); // no tokens, no approval
        flc.join(id, CAP);
        vm.prank(OPERATOR);
        flc.cancel(id);
        vm.expectRevert(abi.encodeWithSelector(NoStake.selector, id, _participant(0)));
        flc.returnStake(id, _participant(0));
    }
}
