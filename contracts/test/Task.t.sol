// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {FLCoordinator} from "../src/FLCoordinator.sol";
import {Base} from "./lib/Base.sol";

/// @dev Creating, funding, starting, cancelling: the operator's side.
contract TaskTest is Base {
    function test_create_escrows_the_pool_and_remembers_every_term() public {
        TaskParams memory p = _params(3, 10, 3);
        (p.minParticipants, p.rewardMode, p.updateSeconds, p.scoreSeconds, p.aggregateSeconds) =
            (4, RewardMode.Samples, 11, 22, 33);
        uint256 before = token.balanceOf(OPERATOR);
        uint256 id = _create(p);
        _eq(before - token.balanceOf(OPERATOR), POOL, "paid by the operator");
        TaskView memory t = flc.task(id);
        _is(t.phase, TaskPhase.Open);
        _eq(uint256(t.rewardMode), uint256(RewardMode.Samples), "reward mode");
        _eq(t.operator, OPERATOR, "operator");
        _eq(t.configHash, p.configHash, "config hash");
        _eq(t.modelHash, p.modelHash, "model hash");
        _eq(t.rewardRoot, bytes32(0), "no reward root yet");
        _eq(t.pool, POOL, "pool");
        _eq(t.stake, STAKE, "stake");
        _eq(t.rounds, 3, "rounds");
        _eq(t.round, 0, "round");
        _eq(t.minParticipants, 4, "minimum");
        _eq(t.maxParticipants, 10, "maximum");
        _eq(t.quorum, 2, "quorum");
        _eq(t.deadline, block.timestamp + STEP, "join deadline");
        _eq(uint256(t.updateSeconds) << 64 | uint256(t.scoreSeconds) << 32 | t.aggregateSeconds,
            11 << 64 | 22 << 32 | 33, "durations");
        address[] memory list = flc.evaluators(id);
        _eq(list.length, 3, "evaluators");
        for (uint256 i = 0; i < 3; ++i) _eq(list[i], _evaluator(i), "evaluator");
        _eq(flc.taskCount(), id, "task count");
        _solvent();
    }

    function test_create_emits_the_parameters() public {
        TaskParams memory p = _params(3, 10, 2);
        vm.expectEmit(address(flc));
        emit TaskCreated(2, OPERATOR, p.configHash, p);
        _create(p);
    }

    function _refused(TaskParams memory p, bytes memory error) private {
        vm.expectRevert(error);
        _create(p);
    }

    function _range(string memory name, uint256 value, uint256 lo, uint256 hi) private pure returns (bytes memory) {
        return abi.encodeWithSelector(OutOfRange.selector, name, value, lo, hi);
    }

    function test_create_refuses_each_parameter_out_of_its_bounds() public {
        TaskParams memory p = _params(3, 10, 3);
        p.configHash = 0;
        _refused(p, abi.encodeWithSelector(ZeroHash.selector, "configHash"));
        p = _params(3, 10, 3);
        p.modelHash = 0;
        _refused(p, abi.encodeWithSelector(ZeroHash.selector, "modelHash"));
        _refused(_params(0, 10, 3), _range("rounds", 0, 1, 65535));
        _refused(_params(3, 0, 3), _range("maxParticipants", 0, 1, 1000));
        _refused(_params(3, 1001, 3), _range("maxParticipants", 1001, 1, 1000));
        p = _params(3, 10, 3);
        p.minParticipants = 11;
        _refused(p, _range("minParticipants", 11, 1, 10));
        p.minParticipants = 0;
        _refused(p, _range("minParticipants", 0, 1, 10));
        p = _params(3, 10, 3);
        p.joinSeconds = 0;
        _refused(p, _range("joinSeconds", 0, 1, 365 days));
        p = _params(3, 10, 3);
        p.updateSeconds = 365 days + 1;
        _refused(p, _range("updateSeconds", 365 days + 1, 1, 365 days));
        p = _params(3, 10, 3);
        p.scoreSeconds = 0;
        _refused(p, _range("scoreSeconds", 0, 1, 365 days));
        p = _params(3, 10, 3);
        p.aggregateSeconds = 0;
        _refused(p, _range("aggregateSeconds", 0, 1, 365 days));
        p = _params(3, 10, 1);
        p.evaluators = new address[](0);
        _refused(p, _range("evaluators", 0, 1, 16));
        _refused(_params(3, 10, 17), _range("evaluators", 17, 1, 16));
        p = _params(3, 10, 4);
        p.quorum = 2; // half is no majority: two results could both reach it
        _refused(p, _range("quorum", 2, 3, 4));
        p.quorum = 5;
        _refused(p, _range("quorum", 5, 3, 4));
        p = _params(3, 10, 3);
        p.evaluators[1] = address(0);
        _refused(p, abi.encodeWithSelector(ZeroAddress.selector, "evaluator"));
        p = _params(3, 10, 3);
        p.evaluators[2] = _evaluator(0);
        _refused(p, abi.encodeWithSelector(DuplicateEvaluator.selector, _evaluator(0)));
    }

    function test_create_needs_the_allowance() public {
        vm.prank(OPERATOR);
        token.approve(address(flc), POOL - 1);
        TaskParams memory p = _params(3, 10, 1);
        vm.prank(OPERATOR);
        vm.expectRevert();
        flc.createTask(p);
    }

    function test_constructor_refuses_no_token() public {
        vm.expectRevert(abi.encodeWithSelector(ZeroAddress.selector, "token"));
        new FLCoordinator(IERC20(address(0)));
    }

    function test_limits_and_token() public view {
        Limits memory l = flc.limits();
        _eq(l.participants, 1000, "participants");
        _eq(l.evaluators, 16, "evaluators");
        _eq(l.duration, 365 days, "duration");
        _eq(l.claimPeriod, 365 days, "claim period");
        _eq(l.burn, address(0xdEaD), "burn");
        _eq(flc.token(), address(token), "token");
    }

    function test_pause_stops_new_tasks_and_nothing_else() public {
        uint256 id = _running(2, 2, 1);
        uint256 open = _create(_params(2, 2, 1));
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, OPERATOR));
        flc.setPaused(true);
        flc.setPaused(true);
        TaskParams memory p = _params(2, 2, 1);
        vm.prank(OPERATOR);
        vm.expectRevert(Pausable.EnforcedPause.selector);
        flc.createTask(p);
        _join(open, 5);
        vm.prank(_participant(5));
        flc.leave(open);
        _round(id, 1, 2, 1, POOL / 2);
        _round(id, 2, 2, 1, POOL);
        _claim(id, 2, POOL, 0);
        flc.returnStake(id, _participant(0));
        vm.prank(OPERATOR);
        flc.cancel(open);
        flc.setPaused(false);
        _create(_params(2, 2, 1));
        _solvent();
    }

    function test_start_by_the_operator_or_by_anyone_after_the_deadline() public {
        TaskParams memory p = _params(2, 5, 1);
        p.minParticipants = 2;
        uint256 id = _create(p);
        _join(id, 0);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(TooFewParticipants.selector, id, 1, 2));
        flc.start(id);
        _join(id, 1);
        vm.expectRevert(
            abi.encodeWithSelector(DeadlineNotReached.selector, id, block.timestamp + STEP, block.timestamp)
        );
        flc.start(id);
        vm.warp(block.timestamp + STEP + 1);
        vm.expectEmit(address(flc));
        emit TaskStarted(id, 2);
        vm.expectEmit(address(flc));
        emit RoundOpened(id, 1, p.modelHash, uint40(block.timestamp + STEP));
        flc.start(id);
        RoundView memory r = flc.roundState(id);
        _eq(r.round, 1, "round");
        _is(r.phase, RoundPhase.Updates);
        _eq(r.deadline, block.timestamp + STEP, "deadline");
        _eq(r.awaited, 2, "awaited");
        vm.prank(OPERATOR);
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Open, TaskPhase.Running)
        );
        flc.start(id);
    }

    function test_topUp_before_the_start_raises_every_round() public {
        uint256 id = _create(_params(4, 2, 1));
        flc.task(id);
        token.approve(address(flc), type(uint256).max);
        vm.expectEmit(address(flc));
        emit PoolToppedUp(id, address(this), 400 ether);
        flc.topUp(id, 400 ether);
        _join(id, 0);
        _start(id);
        _eq(flc.roundReward(id), (POOL + 400 ether) / 4, "reward of a round");
        _solvent();
    }

    function test_topUp_while_running_leaves_the_current_round_alone() public {
        uint256 id = _running(3, 2, 1);
        token.approve(address(flc), type(uint256).max);
        uint256 first = POOL / 3;
        _eq(flc.roundReward(id), first, "reward of round 1");
        flc.topUp(id, 301);
        _eq(flc.roundReward(id), first, "still the reward of round 1");
        _round(id, 1, 2, 1, first);
        uint256 second = (POOL - first + 301) / 2;
        _eq(flc.roundReward(id), second, "reward of round 2");
        _round(id, 2, 2, 1, first + second);
        _eq(flc.roundReward(id), POOL + 301 - first - second, "the last round takes the rest");
        vm.expectRevert(abi.encodeWithSelector(TopUpClosed.selector, id, 3, 3));
        flc.topUp(id, 1);
        _round(id, 3, 2, 1, POOL + 301);
        _eq(flc.roundReward(id), 0, "no round runs any more");
        _eq(flc.task(id).unclaimed, POOL + 301, "all credited");
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Running, TaskPhase.Completed)
        );
        flc.topUp(id, 1);
        vm.expectRevert(_range("amount", 0, 1, type(uint96).max));
        flc.topUp(id, 0);
        _solvent();
    }

    function test_cancel_while_open_returns_pool_and_stakes() public {
        uint256 id = _create(_params(3, 5, 1));
        _join(id, 0);
        vm.expectRevert(abi.encodeWithSelector(NotOperator.selector, id, address(this)));
        flc.cancel(id);
        uint256 before = token.balanceOf(OPERATOR);
        vm.expectEmit(address(flc));
        emit TaskCancelled(id, POOL);
        vm.expectEmit(address(flc));
        emit PoolReturned(id, OPERATOR, POOL);
        vm.prank(OPERATOR);
        flc.cancel(id);
        _eq(token.balanceOf(OPERATOR) - before, POOL, "refund");
        _is(_phase(id), TaskPhase.Cancelled);
        vm.expectEmit(address(flc));
        emit StakeReturned(id, _participant(0), STAKE);
        flc.returnStake(id, _participant(0));
        _eq(token.balanceOf(_participant(0)), 10_000 ether, "stake back");
        vm.expectRevert(abi.encodeWithSelector(NoStake.selector, id, _participant(0)));
        flc.returnStake(id, _participant(0));
        vm.prank(OPERATOR);
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Running, TaskPhase.Cancelled)
        );
        flc.cancel(id);
        vm.expectRevert(abi.encodeWithSelector(NothingToReturn.selector, id));
        flc.returnPool(id);
        _solvent();
    }

    function test_cancel_between_rounds_closes_the_lanes() public {
        uint256 id = _running(3, 2, 1);
        _round(id, 1, 2, 1, POOL / 3);
        vm.prank(OPERATOR);
        flc.cancel(id);
        _is(_phase(id), TaskPhase.Cancelled);
        vm.prank(_participant(0));
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, id, 0, 2));
        flc.submitUpdate(id, 2, keccak256("late"), 1);
        _claim(id, 2, POOL / 3, 1); // what was earned stays
        _solvent();
    }

    function test_cancel_with_updates_in_pays_the_round_first() public {
        uint256 id = _running(3, 2, 1);
        _submit(id, 1, 0);
        vm.expectEmit(address(flc));
        emit TaskStopping(id, 1);
        vm.prank(OPERATOR);
        flc.cancel(id);
        require(flc.task(id).stopping, "stopping");
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(AlreadyStopping.selector, id));
        flc.cancel(id);
        vm.expectRevert(abi.encodeWithSelector(TopUpClosed.selector, id, 1, 3));
        flc.topUp(id, 1);
        _submit(id, 1, 1);
        _score(id, 1, 0);
        uint256 before = token.balanceOf(OPERATOR);
        _vote(id, 1, 0, keccak256("root"));
        _is(_phase(id), TaskPhase.Cancelled);
        _is(_roundPhase(id), RoundPhase.Finalized);
        _eq(flc.task(id).unclaimed, POOL / 3, "round paid");
        _eq(token.balanceOf(OPERATOR) - before, POOL - POOL / 3, "rest returned");
        _solvent();
    }

    function test_cancel_in_the_last_round_changes_nothing() public {
        uint256 id = _running(1, 2, 1);
        _submit(id, 1, 0);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(AlreadyStopping.selector, id));
        flc.cancel(id);
    }

    function test_unknown_tasks_have_no_phase() public {
        _is(_phase(99), TaskPhase.None);
        require(!flc.expirable(99), "nothing to expire");
        vm.expectRevert(abi.encodeWithSelector(NotOperator.selector, 99, address(this)));
        flc.cancel(99);
        vm.expectRevert(abi.encodeWithSelector(WrongTaskPhase.selector, 99, TaskPhase.Open, TaskPhase.None));
        flc.join(99, 1);
        vm.expectRevert(abi.encodeWithSelector(WrongTaskPhase.selector, 99, TaskPhase.Cancelled, TaskPhase.None));
        flc.returnPool(99);
        vm.expectRevert(abi.encodeWithSelector(WrongTaskPhase.selector, 99, TaskPhase.Completed, TaskPhase.None));
        flc.sweep(99);
    }
}
