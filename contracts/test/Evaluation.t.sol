// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base} from "./lib/Base.sol";
import {Merkle} from "./lib/Merkle.sol";

/// @dev Scores, votes, quorum, deadlines, and what happens when somebody does not play along.
contract EvaluationTest is Base {
    function test_scores_need_every_update_or_the_deadline() public {
        uint256 id = _running(2, 3, 1);
        _submit(id, 1, 0);
        uint256 deadline = block.timestamp + STEP;
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(UpdatesStillOpen.selector, id, 2, deadline));
        flc.submitScores(id, 1, _scores(3));
        vm.warp(deadline + 1);
        vm.expectEmit(address(flc));
        emit ScoringOpened(id, 1, 1, uint40(block.timestamp + STEP));
        vm.expectEmit(address(flc));
        emit ScoresSubmitted(id, 1, _evaluator(0), _scores(3));
        vm.expectEmit(address(flc));
        emit AggregatingOpened(id, 1, uint40(block.timestamp + STEP));
        _score(id, 1, 0);
        _is(_roundPhase(id), RoundPhase.Aggregating);
        _eq(flc.roundState(id).scored, 1, "scored bits");
    }

    function test_scores_are_four_bytes_a_member_once_an_evaluator() public {
        uint256 id = _running(2, 2, 2);
        _submitAll(id, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(NotEvaluator.selector, id, address(this)));
        flc.submitScores(id, 1, _scores(2));
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(ScoresLength.selector, 12, 8));
        flc.submitScores(id, 1, _scores(3));
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, id, 1, 2));
        flc.submitScores(id, 2, _scores(2));
        _score(id, 1, 0);
        _is(_roundPhase(id), RoundPhase.Scoring);
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(AlreadyScored.selector, id, 1, _evaluator(0)));
        flc.submitScores(id, 1, _scores(2));
        _score(id, 1, 1);
        _is(_roundPhase(id), RoundPhase.Aggregating);
        vm.prank(_evaluator(1));
        vm.expectRevert(
            abi.encodeWithSelector(WrongRoundPhase.selector, id, RoundPhase.Scoring, RoundPhase.Aggregating)
        );
        flc.submitScores(id, 1, _scores(2));
    }

    /// A quorum of scores and the deadline freeze the scores, before anybody votes.
    function test_scores_are_frozen_once_time_is_up_and_a_quorum_has_scored() public {
        uint256 id = _running(2, 2, 3);
        _submitAll(id, 1, 2);
        _score(id, 1, 0);
        _score(id, 1, 1);
        vm.prank(_evaluator(0));
        vm.expectRevert(
            abi.encodeWithSelector(WrongRoundPhase.selector, id, RoundPhase.Aggregating, RoundPhase.Scoring)
        );
        flc.submitAggregate(id, 1, _model(1), keccak256("root"), 1);
        vm.warp(block.timestamp + STEP + 1);
        vm.prank(_evaluator(2));
        vm.expectRevert(abi.encodeWithSelector(ScoresClosed.selector, id, 1));
        flc.submitScores(id, 1, _scores(2));
        vm.expectEmit(address(flc));
        emit AggregatingOpened(id, 1, uint40(block.timestamp + STEP));
        _vote(id, 1, 2, keccak256("root")); // who did not score may vote
        _vote(id, 1, 0, keccak256("root"));
        _eq(flc.task(id).round, 2, "round");
    }

    function test_late_scores_count_until_a_quorum_has_scored() public {
        uint256 id = _running(2, 2, 3);
        _submitAll(id, 1, 2);
        _score(id, 1, 0);
        vm.warp(block.timestamp + STEP + 1);
        require(flc.expirable(id), "anyone may give up now");
        _score(id, 1, 1); // but nobody did
        _is(_roundPhase(id), RoundPhase.Aggregating);
        require(!flc.expirable(id), "it goes on");
    }

    function test_aggregate_finalises_pays_and_opens_the_next_round() public {
        uint256 id = _running(2, 2, 1);
        _submitAll(id, 1, 2);
        _score(id, 1, 0);
        bytes32 root = Merkle.root(_leaves(id, 2, POOL / 2));
        vm.expectEmit(address(flc));
        emit AggregateSubmitted(id, 1, _evaluator(0), _model(1), root, 912_345);
        vm.expectEmit(address(flc));
        emit RoundFinalized(id, 1, _model(1), root, 912_345, POOL / 2);
        vm.expectEmit(address(flc));
        emit RoundOpened(id, 2, _model(1), uint40(block.timestamp + STEP));
        _vote(id, 1, 0, root);
        TaskView memory t = flc.task(id);
        _eq(t.modelHash, _model(1), "model");
        _eq(t.rewardRoot, root, "root");
        _eq(t.unclaimed, POOL / 2, "credited");
        RoundView memory r = flc.roundState(id);
        _eq(r.round, 2, "round");
        _eq(r.awaited, 2, "awaited");
        _eq(r.scored | r.voted, 0, "bits cleared");
        _submitAll(id, 2, 2);
        _score(id, 2, 0);
        vm.expectEmit(address(flc));
        emit TaskCompleted(id, _model(2));
        _vote(id, 2, 0, Merkle.root(_leaves(id, 2, POOL)));
        _is(_phase(id), TaskPhase.Completed);
        _is(_roundPhase(id), RoundPhase.Finalized);
        _eq(flc.task(id).pool, 0, "all spent");
        vm.prank(_evaluator(0));
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Running, TaskPhase.Completed)
        );
        flc.submitAggregate(id, 2, _model(2), root, 1);
        _solvent();
    }

    function test_the_last_round_takes_the_remainder() public {
        uint256 id = _create(_params(3, 1, 1, 1001));
        _join(id, 0);
        _start(id);
        _round(id, 1, 1, 1, 333);
        _round(id, 2, 1, 1, 666);
        _eq(flc.roundReward(id), 335, "1001 = 333 + 333 + 335");
        _round(id, 3, 1, 1, 1001);
        _claim(id, 1, 1001, 0);
        _eq(flc.task(id).unclaimed, 0, "all paid");
        _solvent();
    }

    function test_aggregate_refuses_bad_values() public {
        uint256 id = _running(2, 2, 1);
        _submitAll(id, 1, 2);
        _score(id, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(NotEvaluator.selector, id, address(this)));
        flc.submitAggregate(id, 1, _model(1), keccak256("root"), 1);
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(ZeroHash.selector, "modelHash"));
        flc.submitAggregate(id, 1, 0, keccak256("root"), 1);
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(ZeroHash.selector, "rewardRoot"));
        flc.submitAggregate(id, 1, _model(1), 0, 1);
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(OutOfRange.selector, "accuracyPpm", 1_000_001, 0, 1_000_000));
        flc.submitAggregate(id, 1, _model(1), keccak256("root"), 1_000_001);
    }

    /// Three evaluators, one lies about everything: the honest two finalise, nobody is hurt.
    function test_a_lying_evaluator_changes_nothing() public {
        uint256 id = _running(1, 2, 3);
        _submitAll(id, 1, 2);
        vm.prank(_evaluator(2));
        flc.submitScores(id, 1, hex"ffffffff00000000");
        _score(id, 1, 0);
        _score(id, 1, 1);
        vm.prank(_evaluator(2));
        flc.slash(id, _participant(1), keccak256("made up"));
        bytes32 lie = Merkle.leaf(id, _participant(0), POOL);
        vm.prank(_evaluator(2));
        flc.submitAggregate(id, 1, keccak256("bad model"), lie, 1_000_000);
        vm.prank(_evaluator(2));
        vm.expectRevert(abi.encodeWithSelector(AlreadyVoted.selector, id, 1, _evaluator(2)));
        flc.submitAggregate(id, 1, keccak256("bad model"), lie, 1_000_000);
        bytes32 root = Merkle.root(_leaves(id, 2, POOL));
        _vote(id, 1, 0, root);
        _eq(flc.aggregateVotes(id, 1, _model(1), root, 912_345), 1, "honest votes");
        _eq(flc.aggregateVotes(id, 1, keccak256("bad model"), lie, 1_000_000), 1, "lies");
        _eq(flc.roundState(id).voted, 5, "voted bits");
        _vote(id, 1, 1, root);
        _is(_phase(id), TaskPhase.Completed);
        _eq(flc.task(id).modelHash, _model(1), "honest model");
        _is(flc.member(id, _participant(1)).status, MemberStatus.Active);
        for (uint256 i = 0; i < 2; ++i) {
            _claim(id, 2, POOL, i);
            flc.returnStake(id, _participant(i));
            _eq(token.balanceOf(_participant(i)), 10_000 ether + POOL / 2, "paid out");
        }
        _eq(flc.liabilities(id, id), 0, "nothing left");
        _solvent();
    }

    function test_votes_for_another_round_do_not_add_up() public {
        uint256 id = _running(2, 1, 3);
        for (uint16 round = 1; round <= 2; ++round) {
            _submit(id, round, 0);
            for (uint256 e = 0; e < 3; ++e) _score(id, round, e);
            for (uint256 e = 0; e < 2; ++e) {
                vm.prank(_evaluator(e));
                flc.submitAggregate(id, round, keccak256("same"), keccak256("same"), 1);
                if (e == 0) _eq(flc.task(id).round, round, "one vote is not enough");
            }
        }
        _is(_phase(id), TaskPhase.Completed);
    }

    // ---------------------------------------------------------------------- expire

    function _refuseExpire(uint256 id, uint256 deadline) private {
        vm.expectRevert(abi.encodeWithSelector(NotExpirable.selector, id, deadline, block.timestamp));
        flc.expire(id);
    }

    /// Everybody gets money back: the operator the pool, members their stakes.
    function _expire(uint256 id, uint256 members, uint96 refund) private {
        uint256 operator = token.balanceOf(OPERATOR);
        require(flc.expirable(id), "expirable");
        vm.expectEmit(address(flc));
        emit TaskCancelled(id, refund);
        flc.expire(id);
        _eq(token.balanceOf(OPERATOR) - operator, refund, "refund");
        uint16 round = flc.task(id).round;
        vm.prank(_participant(0));
        vm.expectRevert();
        flc.submitUpdate(id, round, keccak256("too late"), 1);
        for (uint256 i = 0; i < members; ++i) flc.returnStake(id, _participant(i));
        _eq(flc.liabilities(id, id), flc.task(id).unclaimed, "only earned rewards are left");
        _solvent();
    }

    function test_expire_when_too_few_join() public {
        TaskParams memory p = _params(2, 3, 1);
        p.minParticipants = 2;
        uint256 id = _create(p);
        _join(id, 0);
        uint256 deadline = block.timestamp + STEP;
        vm.warp(deadline);
        _refuseExpire(id, deadline);
        vm.warp(deadline + 1);
        _expire(id, 1, POOL);
    }

    function test_no_expire_while_anyone_can_start() public {
        uint256 id = _create(_params(2, 3, 1));
        _join(id, 0);
        uint256 deadline = block.timestamp + STEP;
        vm.warp(deadline + 1);
        _refuseExpire(id, deadline);
        flc.start(id);
    }

    function test_expire_when_nobody_submits() public {
        uint256 id = _running(2, 2, 1);
        uint256 deadline = block.timestamp + STEP;
        _refuseExpire(id, deadline);
        vm.warp(deadline + 1);
        vm.prank(_evaluator(0));
        vm.expectRevert(abi.encodeWithSelector(NoUpdates.selector, id, 1));
        flc.submitScores(id, 1, _scores(2));
        _expire(id, 2, POOL);
    }

    function test_expire_when_everybody_left() public {
        uint256 id = _running(2, 2, 1);
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(_participant(i));
            flc.leave(id);
        }
        _expire(id, 2, POOL);
    }

    /// One participant never submits: the round closes without it.
    function test_a_silent_participant_stops_nobody() public {
        uint256 id = _running(1, 3, 1);
        _submit(id, 1, 0);
        _submit(id, 1, 2);
        vm.warp(block.timestamp + STEP + 1);
        _score(id, 1, 0);
        _vote(id, 1, 0, keccak256("root"));
        for (uint256 i = 0; i < 3; ++i) flc.returnStake(id, _participant(i));
        _solvent();
    }

    function test_expire_when_no_evaluator_scores() public {
        uint256 id = _running(2, 2, 1);
        _round(id, 1, 2, 1, POOL / 2);
        _submitAll(id, 2, 2);
        uint256 deadline = block.timestamp + STEP;
        vm.warp(deadline + STEP);
        _refuseExpire(id, deadline);
        vm.warp(deadline + STEP + 1);
        _expire(id, 2, POOL / 2);
        _claim(id, 2, POOL / 2, 0); // round 1 stays earned
        _claim(id, 2, POOL / 2, 1);
        _eq(flc.liabilities(id, id), 0, "nothing left");
    }

    function test_expire_when_too_few_score() public {
        uint256 id = _running(2, 2, 3);
        _submitAll(id, 1, 2);
        _score(id, 1, 0);
        uint256 deadline = block.timestamp + STEP;
        _refuseExpire(id, deadline);
        vm.warp(deadline + 1);
        _expire(id, 2, POOL);
    }

    function test_expire_when_nobody_opens_aggregating() public {
        uint256 id = _running(2, 2, 3);
        _submitAll(id, 1, 2);
        _score(id, 1, 0);
        _score(id, 1, 1);
        uint256 deadline = block.timestamp + STEP;
        vm.warp(deadline + STEP);
        _refuseExpire(id, deadline);
        vm.warp(deadline + STEP + 1);
        _expire(id, 2, POOL);
    }

    function test_expire_when_no_result_gets_a_quorum_in_time() public {
        uint256 id = _running(2, 2, 3);
        _submitAll(id, 1, 2);
        for (uint256 e = 0; e < 3; ++e) _score(id, 1, e);
        _vote(id, 1, 0, keccak256("a"));
        uint256 deadline = block.timestamp + STEP;
        _refuseExpire(id, deadline);
        vm.warp(deadline + 1);
        _expire(id, 2, POOL);
        vm.prank(_evaluator(1));
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Running, TaskPhase.Cancelled)
        );
        flc.submitAggregate(id, 1, _model(1), keccak256("a"), 912_345);
    }

    function test_expire_at_once_when_all_have_voted_and_disagree() public {
        uint256 id = _running(2, 2, 3);
        _submitAll(id, 1, 2);
        for (uint256 e = 0; e < 3; ++e) _score(id, 1, e);
        for (uint256 e = 0; e < 3; ++e) _vote(id, 1, e, keccak256(abi.encode(e)));
        _expire(id, 2, POOL);
    }

    function test_late_votes_count_until_somebody_expires() public {
        uint256 id = _running(1, 2, 1);
        _submitAll(id, 1, 2);
        _score(id, 1, 0);
        vm.warp(block.timestamp + 10 * STEP);
        _vote(id, 1, 0, keccak256("root"));
        _is(_phase(id), TaskPhase.Completed);
        _refuseExpire(id, block.timestamp);
    }
}
