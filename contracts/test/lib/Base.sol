// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {FLCoordinator} from "../../src/FLCoordinator.sol";
import {FLToken} from "../../src/FLToken.sol";
import {IFLCoordinatorTypes} from "../../interfaces/IFLCoordinatorTypes.sol";
import {Merkle} from "./Merkle.sol";
import {Vm} from "./Vm.sol";

/// @dev A coordinator, its token, and helpers that walk a task through its life.
abstract contract Base is IFLCoordinatorTypes {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    uint96 internal constant POOL = 1000 ether;
    uint96 internal constant STAKE = 10 ether;
    uint32 internal constant CAP = 5000;
    uint32 internal constant STEP = 1 hours; // every duration of a default task
    address internal constant OPERATOR = address(0x0be7a702);

    FLToken internal token;
    FLCoordinator internal flc;

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        token = new FLToken(1_000_000_000 ether);
        flc = new FLCoordinator(IERC20(address(token)));
        token.transfer(OPERATOR, 1_000_000 ether);
        vm.prank(OPERATOR);
        token.approve(address(flc), type(uint256).max);
        // Nobody is ever the first: the coordinator's balance slot is not empty.
        _create(_params(1, 1, 1));
    }

    // ------------------------------------------------------------------- actors

    function _key(uint256 i) internal pure returns (uint256) {
        return 0xf1000000 + i;
    }

    function _participant(uint256 i) internal pure returns (address) {
        return vm.addr(_key(i));
    }

    function _evaluator(uint256 i) internal pure returns (address) {
        return address(uint160(0xe7a10000 + i));
    }

    // -------------------------------------------------------------------- steps

    function _params(uint16 rounds, uint16 participants, uint256 evaluators)
        internal
        pure
        returns (TaskParams memory p)
    {
        p.configHash = keccak256("config");
        p.modelHash = keccak256("model 0");
        (p.pool, p.stake, p.rounds) = (POOL, STAKE, rounds);
        (p.minParticipants, p.maxParticipants) = (1, participants);
        p.quorum = uint8(evaluators / 2 + 1);
        p.rewardMode = RewardMode.Score;
        (p.joinSeconds, p.updateSeconds, p.scoreSeconds, p.aggregateSeconds) = (STEP, STEP, STEP, STEP);
        p.evaluators = new address[](evaluators);
        for (uint256 i = 0; i < evaluators; ++i) {
            p.evaluators[i] = _evaluator(i);
        }
    }

    function _create(TaskParams memory p) internal returns (uint256) {
        vm.prank(OPERATOR);
        return flc.createTask(p);
    }

    function _fund(address account) internal {
        token.transfer(account, 10_000 ether);
        vm.prank(account);
        token.approve(address(flc), 10_000 ether);
    }

    function _join(uint256 taskId, uint256 i) internal {
        _fund(_participant(i));
        vm.prank(_participant(i));
        flc.join(taskId, CAP);
    }

    function _start(uint256 taskId) internal {
        vm.prank(OPERATOR);
        flc.start(taskId);
    }

    /// @dev A running task with `n` participants and `m` evaluators.
    function _running(uint16 rounds, uint16 n, uint256 m) internal returns (uint256 taskId) {
        taskId = _create(_params(rounds, n, m));
        for (uint256 i = 0; i < n; ++i) {
            _join(taskId, i);
        }
        _start(taskId);
    }

    function _hash(uint256 taskId, uint256 round, address participant) internal pure returns (bytes32) {
        return keccak256(abi.encode(participant, taskId, round, keccak256("content")));
    }

    function _submit(uint256 taskId, uint16 round, uint256 i) internal {
        address p = _participant(i);
        vm.prank(p);
        flc.submitUpdate(taskId, round, _hash(taskId, round, p), 1000);
    }

    function _submitAll(uint256 taskId, uint16 round, uint256 n) internal {
        for (uint256 i = 0; i < n; ++i) {
            _submit(taskId, round, i);
        }
    }

    function _scores(uint256 n) internal pure returns (bytes memory scores) {
        for (uint256 i = 0; i < n; ++i) {
            scores = bytes.concat(scores, bytes4(uint32(900_000 + i)));
        }
    }

    function _score(uint256 taskId, uint16 round, uint256 evaluator) internal {
        bytes memory scores = _scores(flc.task(taskId).members);
        vm.prank(_evaluator(evaluator));
        flc.submitScores(taskId, round, scores);
    }

    function _vote(uint256 taskId, uint16 round, uint256 evaluator, bytes32 root) internal {
        vm.prank(_evaluator(evaluator));
        flc.submitAggregate(taskId, round, _model(round), root, 912_345);
    }

    function _model(uint256 round) internal pure returns (bytes32) {
        return keccak256(abi.encode("model", round));
    }

    /// @dev Cumulative leaves that split everything credited up to now, plus this round, equally.
    function _leaves(uint256 taskId, uint256 n, uint256 total) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            leaves[i] = Merkle.leaf(taskId, _participant(i), uint96(total / n));
        }
    }

    /// @dev A whole round with direct submissions and all `m` evaluators honest.
    function _round(uint256 taskId, uint16 round, uint256 n, uint256 m, uint256 cumulative) internal {
        _submitAll(taskId, round, n);
        for (uint256 e = 0; e < m; ++e) {
            _score(taskId, round, e);
        }
        bytes32 root = Merkle.root(_leaves(taskId, n, cumulative));
        uint256 quorum = flc.task(taskId).quorum;
        for (uint256 e = 0; e < quorum; ++e) {
            _vote(taskId, round, e, root);
        }
    }

    /// @dev One relayed update, signed: the 38 bytes and the 64 bytes.
    function _signed(uint256 taskId, uint16 round, uint16 index, uint256 key, uint32 samples)
        internal
        view
        returns (bytes memory update, bytes memory signature)
    {
        bytes32 updateHash = _hash(taskId, round, vm.addr(key));
        update = abi.encodePacked(index, updateHash, samples);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, flc.updateDigest(taskId, round, updateHash, samples));
        signature = abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function _batch(uint256 taskId, uint16 round, uint256 from, uint256 to)
        internal
        view
        returns (bytes memory updates, bytes memory signatures)
    {
        for (uint256 i = from; i < to; ++i) {
            (bytes memory u, bytes memory s) = _signed(taskId, round, uint16(i), _key(i), 1000);
            (updates, signatures) = (bytes.concat(updates, u), bytes.concat(signatures, s));
        }
    }

    /// @dev Splits a list of tasks' worth of cumulative rewards equally and claims one share.
    function _claim(uint256 taskId, uint256 n, uint256 cumulative, uint256 i) internal {
        bytes32[] memory leaves = _leaves(taskId, n, cumulative);
        flc.claim(taskId, _participant(i), uint96(cumulative / n), Merkle.proof(leaves, i));
    }

    function _params(uint16 rounds, uint16 participants, uint256 evaluators, uint96 pool)
        internal
        pure
        returns (TaskParams memory p)
    {
        p = _params(rounds, participants, evaluators);
        p.pool = pool;
    }

    function _phase(uint256 taskId) internal view returns (TaskPhase) {
        return flc.task(taskId).phase;
    }

    function _roundPhase(uint256 taskId) internal view returns (RoundPhase) {
        return flc.roundState(taskId).phase;
    }

    function _permit(uint256 i, uint256 value, uint256 deadline) internal view returns (uint8, bytes32, bytes32) {
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 structHash = keccak256(
            abi.encode(typehash, _participant(i), address(flc), value, token.nonces(_participant(i)), deadline)
        );
        return vm.sign(_key(i), keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), structHash)));
    }

    // --------------------------------------------------------------- assertions

    function _is(TaskPhase actual, TaskPhase expected) internal pure {
        _eq(uint256(actual), uint256(expected), "task phase");
    }

    function _is(RoundPhase actual, RoundPhase expected) internal pure {
        _eq(uint256(actual), uint256(expected), "round phase");
    }

    function _is(MemberStatus actual, MemberStatus expected) internal pure {
        _eq(uint256(actual), uint256(expected), "member status");
    }

    function _eq(uint256 actual, uint256 expected, string memory what) internal pure {
        require(
            actual == expected,
            string.concat(what, ": ", vm.toString(actual), " instead of ", vm.toString(expected))
        );
    }

    function _eq(address actual, address expected, string memory what) internal pure {
        _eq(uint160(actual), uint160(expected), what);
    }

    function _eq(bytes32 actual, bytes32 expected, string memory what) internal pure {
        _eq(uint256(actual), uint256(expected), what);
    }

    function _le(uint256 actual, uint256 limit, string memory what) internal pure {
        require(
            actual <= limit, string.concat(what, ": ", vm.toString(actual), " is more than ", vm.toString(limit))
        );
    }

    /// @dev The invariant every test may end with.
    function _solvent() internal view {
        _eq(token.balanceOf(address(flc)), flc.liabilities(1, flc.taskCount()), "balance = liabilities");
    }
}
