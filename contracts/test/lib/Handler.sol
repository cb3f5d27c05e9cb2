// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {FLCoordinator} from "../../src/FLCoordinator.sol";
import {FLToken} from "../../src/FLToken.sol";
import {IFLCoordinatorTypes} from "../../interfaces/IFLCoordinatorTypes.sol";
import {Merkle} from "./Merkle.sol";
import {Vm} from "./Vm.sol";

/// @dev Random operators, participants, evaluators and bystanders doing anything at any time. Calls
/// that the coordinator refuses are fine; what it accepts is booked here a second time, by other means.
contract Handler is IFLCoordinatorTypes {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    uint256 public constant ACTORS = 8;
    uint256 public constant TASKS = 6;
    uint256 public constant OPERATORS = 2;

    FLToken private immutable token;
    FLCoordinator private immutable flc;
    address[ACTORS] public actors;
    uint256[ACTORS] private keys;

    // The second set of books, per task.
    mapping(uint256 => uint256) public deposited; // pool and top-ups
    mapping(uint256 => uint256) public refunded; // to the operator: cancelled pool, sweep
    mapping(uint256 => mapping(uint256 => uint96)) public earned; // by finalised rounds, per actor
    mapping(uint256 => mapping(uint256 => uint96)) public paid; // per actor
    mapping(uint256 => bool) public swept;
    mapping(uint256 => mapping(uint256 => mapping(uint256 => uint96))) private shares; // task, round, actor
    mapping(uint256 => mapping(uint256 => bytes32)) private roots; // what honest evaluators agree on
    uint256 public burnt;
    uint256 public last = 1; // the task of the latest act
    mapping(bytes4 => uint256) public succeeded; // so that a test can show that nothing is vacuous

    constructor(FLToken token_, FLCoordinator flc_) {
        (token, flc) = (token_, flc_);
        for (uint256 i = 0; i < ACTORS; ++i) {
            keys[i] = 0xac700000 + i;
            actors[i] = vm.addr(keys[i]);
            vm.prank(actors[i]);
            token.approve(address(flc), type(uint256).max);
        }
        for (uint256 i = 0; i < OPERATORS; ++i) {
            vm.prank(operator(i));
            token.approve(address(flc), type(uint256).max);
        }
    }

    function operator(uint256 i) public pure returns (address) {
        return address(uint160(0x0be7a000 + i));
    }

    function evaluator(uint256 i) public pure returns (address) {
        return address(uint160(0xe7a10000 + i));
    }

    function _task(uint256 seed) private returns (uint256) {
        last = 1 + seed % flc.taskCount();
        return last;
    }

    function _done() private {
        ++succeeded[msg.sig];
    }

    // ------------------------------------------------------------------ operators

    function createTask(uint256 seed) external {
        if (flc.taskCount() == TASKS) return;
        TaskParams memory p;
        (p.configHash, p.modelHash) = (keccak256(abi.encode(seed)), keccak256("model"));
        p.pool = uint96(seed % 3 == 0 ? seed % 1000 : seed % 1000 ether);
        p.stake = uint96((seed >> 8) % 4 == 0 ? 0 : (seed >> 8) % 10 ether);
        p.rounds = uint16(1 + (seed >> 16) % 3);
        p.maxParticipants = uint16(1 + (seed >> 24) % 5);
        p.minParticipants = uint16(1 + (seed >> 32) % p.maxParticipants);
        uint256 n = 1 + (seed >> 40) % 3;
        p.evaluators = new address[](n);
        for (uint256 i = 0; i < n; ++i) p.evaluators[i] = evaluator(i);
        p.quorum = uint8(n / 2 + 1);
        p.rewardMode = RewardMode(seed % 3);
        (p.joinSeconds, p.updateSeconds, p.scoreSeconds, p.aggregateSeconds) = (1000, 1000, 1000, 1000);
        vm.prank(operator(seed % OPERATORS));
        uint256 id = flc.createTask(p);
        deposited[id] = p.pool;
        last = id;
        _done();
    }

    function topUp(uint256 task, uint256 who, uint96 amount) external {
        amount = uint96(1 + amount % 100 ether);
        uint256 id = _task(task);
        vm.prank(actors[who % ACTORS]);
        try flc.topUp(id, amount) {
            deposited[id] += amount;
            _done();
        } catch {}
    }

    function start(uint256 task, bool byOperator) external {
        uint256 id = _task(task);
        if (byOperator) vm.prank(flc.task(id).operator);
        try flc.start(id) {
            _done();
        } catch {}
    }

    function cancel(uint256 task) external {
        uint256 id = _task(task);
        address op = flc.task(id).operator;
        uint256 before = token.balanceOf(op);
        vm.prank(op);
        try flc.cancel(id) {
            refunded[id] += token.balanceOf(op) - before;
            _done();
        } catch {}
    }

    // --------------------------------------------------------------- participants

    function join(uint256 task, uint256 who, uint32 cap) external {
        uint256 id = _task(task); // before the prank: it is a call too
        vm.prank(actors[who % ACTORS]);
        try flc.join(id, cap) {
            _done();
        } catch {}
    }

    function leave(uint256 task, uint256 who) external {
        if (who % 3 != 0) return; // rare, or nobody is left to train
        uint256 id = _task(task);
        vm.prank(actors[who % ACTORS]);
        try flc.leave(id) {
            _done();
        } catch {}
    }

    function submit(uint256 task, uint256 who, uint32 samples) external {
        uint256 id = _task(task);
        MemberView memory m = flc.member(id, actors[who % ACTORS]);
        if (m.samplesCap != 0) samples = 1 + samples % m.samplesCap;
        uint16 round = flc.roundState(id).round;
        vm.prank(actors[who % ACTORS]);
        try flc.submitUpdate(id, round, keccak256("update"), samples) {
            _done();
        } catch {}
    }

    /// @dev Signatures of all members at once; what is there already is skipped.
    function relay(uint256 task) external {
        uint256 id = _task(task);
        uint16 round = flc.roundState(id).round;
        (bytes memory updates, bytes memory signatures) = ("", "");
        for (uint256 i = 0; i < ACTORS; ++i) {
            MemberView memory m = flc.member(id, actors[i]);
            if (m.status != MemberStatus.Active) continue;
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[i], flc.updateDigest(id, round, keccak256("u"), 1));
            updates = bytes.concat(updates, abi.encodePacked(m.index, keccak256("u"), uint32(1)));
            signatures = bytes.concat(signatures, abi.encodePacked(r, uint256(s) | (uint256(v - 27) << 255)));
        }
        try flc.submitUpdatesBySig(id, round, updates, signatures) {
            _done();
        } catch {}
    }

    function claim(uint256 task, uint256 who) external {
        uint256 id = _task(task);
        _claim(id, who % ACTORS);
    }

    function _claim(uint256 id, uint256 who) private {
        uint96 amount = earned[id][who];
        bytes32[] memory proof = Merkle.proof(_leaves(id, 0), who);
        uint256 before = token.balanceOf(actors[who]);
        try flc.claim(id, actors[who], amount, proof) {
            uint256 received = token.balanceOf(actors[who]) - before;
            require(received == amount - paid[id][who], "paid what is due, no more");
            paid[id][who] = amount;
            _done();
        } catch {}
    }

    function returnStake(uint256 task, uint256 who) external {
        try flc.returnStake(_task(task), actors[who % ACTORS]) {
            _done();
        } catch {}
    }

    // ----------------------------------------------------------------- evaluators

    function score(uint256 task, uint256 who) external {
        uint256 id = _task(task);
        bytes memory scores = new bytes(uint256(flc.task(id).members) * 4);
        uint16 round = flc.roundState(id).round;
        vm.prank(evaluator(who % 3));
        try flc.submitScores(id, round, scores) {
            _done();
        } catch {}
    }

    /// @dev Of three evaluators the third lies; it never has a quorum.
    function vote(uint256 task, uint256 who, uint256 seed) external {
        uint256 id = _task(task);
        TaskView memory t = flc.task(id);
        if (t.phase != TaskPhase.Running) return;
        uint256 e = who % t.evaluators;
        bytes32 root = e == 2 ? keccak256(abi.encode(seed)) : _agree(id, t.round, seed);
        uint256 before = token.balanceOf(t.operator);
        vm.prank(evaluator(e));
        try flc.submitAggregate(id, t.round, keccak256(abi.encode(t.round)), root, 500_000) {
            _done();
            TaskView memory after_ = flc.task(id);
            if (after_.round == t.round && after_.phase == TaskPhase.Running) return;
            for (uint256 i = 0; i < ACTORS; ++i) earned[id][i] += shares[id][t.round][i];
            refunded[id] += token.balanceOf(t.operator) - before;
        } catch {}
    }

    /// @dev The honest split of a round, fixed at the first vote: random shares, exact sum.
    function _agree(uint256 id, uint16 round, uint256 seed) private returns (bytes32) {
        if (roots[id][round] != 0) return roots[id][round];
        uint256 left = flc.roundReward(id);
        uint256 last = ACTORS;
        for (uint256 i = 0; i < ACTORS; ++i) {
            if (flc.member(id, actors[i]).status == MemberStatus.None) continue;
            uint256 share = uint256(keccak256(abi.encode(seed, i))) % (left + 1);
            shares[id][round][i] = uint96(share);
            left -= share;
            last = i;
        }
        shares[id][round][last % ACTORS] += uint96(left);
        roots[id][round] = Merkle.root(_leaves(id, round));
        return roots[id][round];
    }

    function _leaves(uint256 id, uint256 round) private view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](ACTORS);
        for (uint256 i = 0; i < ACTORS; ++i) {
            leaves[i] = Merkle.leaf(id, actors[i], earned[id][i] + shares[id][round][i]);
        }
    }

    function slash(uint256 task, uint256 who, uint256 by) external {
        if (by % 4 != 0) return; // rare, or nobody is left to train
        uint256 id = _task(task);
        address burn = address(0xdEaD);
        uint256 before = token.balanceOf(burn);
        vm.prank(evaluator(by % 3));
        try flc.slash(id, actors[who % ACTORS], keccak256("evidence")) {
            burnt += token.balanceOf(burn) - before;
            _done();
        } catch {}
    }

    // ------------------------------------------------------------------- anybody

    function expire(uint256 task) external {
        _expire(_task(task));
    }

    function _expire(uint256 id) private {
        address op = flc.task(id).operator;
        uint256 before = token.balanceOf(op);
        bool expected = flc.expirable(id);
        try flc.expire(id) {
            require(expected, "expirable said no");
            refunded[id] += token.balanceOf(op) - before;
            _done();
        } catch {
            require(!expected, "expirable said yes");
        }
    }

    function sweep(uint256 task) external {
        uint256 id = _task(task);
        address op = flc.task(id).operator;
        uint256 before = token.balanceOf(op);
        try flc.sweep(id) {
            refunded[id] += token.balanceOf(op) - before;
            swept[id] = true;
            _done();
        } catch {}
    }

    function wait_(uint256 time) external {
        // Mostly short, sometimes past every deadline, rarely past the claim period.
        uint256 span = time % 50 == 0 ? 366 days : time % 5 == 0 ? 2500 : time % 300;
        vm.warp(vm.getBlockTimestamp() + span);
        _done();
    }

    /// @dev Whatever a task needs next, so that runs get deep: members, updates, scores, votes.
    function advance(uint256 task, uint256 seed) external {
        uint256 id = _task(task);
        TaskView memory t = flc.task(id);
        if (t.phase == TaskPhase.Open) {
            if (t.active < t.maxParticipants) this.join(id - 1, seed, 10);
            else this.start(id - 1, true);
        } else if (t.phase == TaskPhase.Running) {
            RoundView memory r = flc.roundState(id);
            if (r.phase == RoundPhase.Updates && r.awaited != 0) this.relay(id - 1);
            else if (r.phase != RoundPhase.Aggregating) this.score(id - 1, seed);
            else this.vote(id - 1, seed, seed);
        }
        _done();
    }

    /// @dev From wherever things stand, without a single act of an operator or evaluator, everything
    /// goes back to whom it belongs. What is left afterwards is stuck.
    function drain() external {
        for (uint256 id = 1; id <= flc.taskCount(); ++id) {
            vm.warp(vm.getBlockTimestamp() + 10_000);
            TaskPhase phase = flc.task(id).phase;
            if (phase == TaskPhase.Open && !flc.expirable(id)) flc.start(id);
            if (phase == TaskPhase.Open || phase == TaskPhase.Running) {
                vm.warp(vm.getBlockTimestamp() + 10_000);
                _expire(id);
            }
            for (uint256 i = 0; i < ACTORS; ++i) {
                MemberView memory m = flc.member(id, actors[i]);
                if (m.stake != 0) flc.returnStake(id, actors[i]);
                if (earned[id][i] > paid[id][i]) _claim(id, i);
            }
        }
    }
}
