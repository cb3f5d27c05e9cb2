// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IFLCoordinator} from "../interfaces/IFLCoordinator.sol";
import {FLRounds} from "./FLRounds.sol";
import {Lanes} from "./Lanes.sol";

/// @title FLCoordinator: who takes part in a task, and the money
/// @notice Rounds are in FLRounds, storage and views in FLState, the documentation in IFLCoordinator.
contract FLCoordinator is Ownable2Step, Pausable, FLRounds {
    /// @param token_ The ERC-20 of all pools, stakes and rewards; never changes.
    constructor(IERC20 token_) Ownable(msg.sender) EIP712("FLCoordinator", "1") {
        if (address(token_) == address(0)) revert ZeroAddress("token");
        _token = token_;
    }

    /// @inheritdoc IFLCoordinator
    function setPaused(bool paused_) external onlyOwner {
        paused_ ? _pause() : _unpause();
    }

    // ------------------------------------------------------------------ operator

    /// @inheritdoc IFLCoordinator
    function createTask(TaskParams calldata params) external nonReentrant whenNotPaused returns (uint256 taskId) {
        _check(params);
        taskId = ++_taskCount;
        Task storage t = _tasks[taskId];
        _save(t, Core({
            phase: TaskPhase.Open,
            roundPhase: RoundPhase.None,
            rewardMode: params.rewardMode,
            stopping: false,
            toppedUp: false,
            quorum: params.quorum,
            evaluators: uint8(params.evaluators.length),
            round: 0,
            rounds: params.rounds,
            minParticipants: params.minParticipants,
            maxParticipants: params.maxParticipants,
            members: 0,
            active: 0,
            staked: 0,
            scored: 0,
            voted: 0,
            deadline: uint40(block.timestamp + params.joinSeconds),
            aggregateSeconds: params.aggregateSeconds
        }));
        (t.pool, t.updateSeconds, t.scoreSeconds) = (params.pool, params.updateSeconds, params.scoreSeconds);
        (t.perRound, t.firstEvaluator) = (params.pool / params.rounds, params.evaluators[0]);
        (t.operator, t.stake) = (msg.sender, params.stake);
        (t.modelHash, t.rewardRoot, t.configHash) = (params.modelHash, NO_ROOT, params.configHash);
        for (uint256 i = 1; i < params.evaluators.length; ++i) {
            _evaluators[taskId][i] = params.evaluators[i];
        }
        emit TaskCreated(taskId, msg.sender, params.configHash, params);
        _pull(msg.sender, params.pool);
    }

    /// @inheritdoc IFLCoordinator
    function topUp(uint256 taskId, uint96 amount) external nonReentrant {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        if (amount == 0) revert OutOfRange("amount", 0, 1, type(uint96).max);
        uint96 pool = t.pool + amount;
        if (c.phase == TaskPhase.Open) {
            t.perRound = pool / c.rounds;
        } else {
            _requirePhase(taskId, c, TaskPhase.Running);
            if (c.round == c.rounds || c.stopping) revert TopUpClosed(taskId, c.round, c.rounds);
            c.toppedUp = true;
            _save(t, c);
        }
        t.pool = pool;
        emit PoolToppedUp(taskId, msg.sender, amount);
        _pull(msg.sender, amount);
    }

    /// @inheritdoc IFLCoordinator
    function start(uint256 taskId) external {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        _requirePhase(taskId, c, TaskPhase.Open);
        if (msg.sender != t.operator && block.timestamp <= c.deadline) {
            revert DeadlineNotReached(taskId, c.deadline, block.timestamp);
        }
        if (c.active < c.minParticipants) revert TooFewParticipants(taskId, c.active, c.minParticipants);
        c.phase = TaskPhase.Running;
        emit TaskStarted(taskId, c.active);
        _openRound(taskId, t, c, t.modelHash);
        _save(t, c);
    }

    /// @inheritdoc IFLCoordinator
    function cancel(uint256 taskId) external nonReentrant {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        if (msg.sender != t.operator) revert NotOperator(taskId, msg.sender);
        if (c.phase != TaskPhase.Open) {
            _requirePhase(taskId, c, TaskPhase.Running);
            if (c.roundPhase != RoundPhase.Updates || _countUpdates(taskId, c) != 0) {
                if (c.stopping || c.round == c.rounds) revert AlreadyStopping(taskId);
                c.stopping = true;
                _save(t, c);
                emit TaskStopping(taskId, c.round);
                return;
            }
        }
        _cancel(taskId, t, c);
    }

    // --------------------------------------------------------------- participant

    /// @inheritdoc IFLCoordinator
    function join(uint256 taskId, uint32 samplesCap) external nonReentrant {
        _join(taskId, samplesCap);
    }

    /// @inheritdoc IFLCoordinator
    function joinWithPermit(uint256 taskId, uint32 samplesCap, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
    {
        // Whoever saw the permit in the mempool may have used it already: then the allowance is there.
        try IERC20Permit(address(_token)).permit(msg.sender, address(this), _tasks[taskId].stake, deadline, v, r, s) {}
            catch {}
        _join(taskId, samplesCap);
    }

    function _join(uint256 taskId, uint32 samplesCap) private {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        _requirePhase(taskId, c, TaskPhase.Open);
        if (block.timestamp > c.deadline) revert DeadlinePassed(taskId, c.deadline, block.timestamp);
        if (samplesCap == 0) revert OutOfRange("samplesCap", 0, 1, type(uint32).max);
        Member storage m = _members[taskId][msg.sender];
        if (m.status != MemberStatus.None) revert AlreadyMember(taskId, msg.sender);
        if (c.active == c.maxParticipants) revert TaskFull(taskId, c.maxParticipants);
        uint16 index = c.active == c.members ? c.members++ : _takeFreeIndex(taskId, c.members);
        ++c.active;
        ++c.staked;
        _save(t, c);
        (m.status, m.index, m.samplesCap) = (MemberStatus.Active, index, samplesCap);
        uint96 stake = t.stake;
        emit ParticipantJoined(taskId, msg.sender, index, samplesCap, stake);
        _pull(msg.sender, stake);
    }

    /// @dev The lowest index somebody gave back by leaving, so that joining and leaving uses none up.
    function _takeFreeIndex(uint256 taskId, uint256 members) private returns (uint16) {
        uint256 lanes = Lanes.count(members);
        uint256 lane = 0;
        while (lane + 1 < lanes && _removed[taskId][lane] == 0) ++lane;
        uint256 free = _removed[taskId][lane];
        uint256 lowest = free & (~free + 1);
        _removed[taskId][lane] = free ^ lowest;
        return uint16(lane * Lanes.WIDTH + Lanes.popcount(lowest - 1));
    }

    /// @inheritdoc IFLCoordinator
    function leave(uint256 taskId) external nonReentrant {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        Member memory m = _members[taskId][msg.sender];
        if (m.status != MemberStatus.Active) revert NotMember(taskId, msg.sender);
        if (c.phase == TaskPhase.Open) {
            uint96 stake = t.stake;
            delete _members[taskId][msg.sender];
            --c.staked;
            _remove(taskId, c, m.index);
            _save(t, c);
            emit ParticipantLeft(taskId, msg.sender, stake);
            _push(msg.sender, stake);
        } else {
            _requirePhase(taskId, c, TaskPhase.Running);
            _members[taskId][msg.sender].status = MemberStatus.Left;
            _remove(taskId, c, m.index);
            _save(t, c);
            emit ParticipantLeft(taskId, msg.sender, 0);
        }
    }

    /// @inheritdoc IFLCoordinator
    function claim(uint256 taskId, address participant, uint96 cumulativeAmount, bytes32[] calldata proof)
        external
        nonReentrant
    {
        Task storage t = _tasks[taskId];
        Member storage m = _members[taskId][participant];
        if (m.status == MemberStatus.None) revert NotMember(taskId, participant);
        uint96 claimed = m.claimed;
        if (cumulativeAmount <= claimed) revert NothingToClaim(taskId, participant, claimed);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(taskId, participant, cumulativeAmount))));
        if (!MerkleProof.verifyCalldata(proof, t.rewardRoot, leaf)) {
            revert InvalidProof(taskId, participant, cumulativeAmount);
        }
        uint96 amount = cumulativeAmount - claimed;
        uint96 available = t.unclaimed;
        if (amount > available) revert AllocationExceeded(taskId, amount, available);
        t.unclaimed = available - amount;
        m.claimed = cumulativeAmount;
        emit RewardClaimed(taskId, participant, amount, cumulativeAmount);
        _push(participant, amount);
    }

    /// @inheritdoc IFLCoordinator
    function returnStake(uint256 taskId, address participant) external nonReentrant {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        _requireEnded(taskId, c);
        Member storage m = _members[taskId][participant];
        uint96 stake = t.stake;
        if (stake == 0 || !_holdsStake(m.status)) revert NoStake(taskId, participant);
        m.status = MemberStatus.Returned;
        --c.staked;
        _save(t, c);
        emit StakeReturned(taskId, participant, stake);
        _push(participant, stake);
    }

    // ----------------------------------------------------------------- evaluator

    /// @inheritdoc IFLCoordinator
    function slash(uint256 taskId, address participant, bytes32 evidenceHash) external nonReentrant {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        _requirePhase(taskId, c, TaskPhase.Running);
        if (evidenceHash == 0) revert ZeroHash("evidenceHash");
        uint256 bit = _evaluatorBit(taskId, t, c);
        Member storage m = _members[taskId][participant];
        MemberStatus status = m.status;
        if (!_holdsStake(status)) revert NotMember(taskId, participant);
        if (c.quorum > 1) {
            bytes32 key = keccak256(abi.encode("slash", taskId, participant, evidenceHash));
            uint256 votes = _votes[key];
            if (votes & bit != 0) revert AlreadySlashVoted(taskId, participant, msg.sender);
            _votes[key] = votes | bit;
            if (Lanes.popcount(votes | bit) < c.quorum) {
                emit SlashVoted(taskId, participant, msg.sender, evidenceHash);
                return;
            }
        }
        if (status == MemberStatus.Active) _remove(taskId, c, m.index);
        m.status = MemberStatus.Slashed;
        --c.staked;
        _save(t, c);
        uint96 stake = t.stake;
        emit ParticipantSlashed(taskId, participant, stake, evidenceHash);
        _push(BURN_ADDRESS, stake);
    }

    // -------------------------------------------------------------------- anyone

    /// @inheritdoc IFLCoordinator
    function expire(uint256 taskId) external nonReentrant {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        if (!_expirable(taskId, t, c)) revert NotExpirable(taskId, c.deadline, block.timestamp);
        _cancel(taskId, t, c);
    }

    /// @inheritdoc IFLCoordinator
    function returnPool(uint256 taskId) external nonReentrant {
        Task storage t = _tasks[taskId];
        _requirePhase(taskId, _load(t), TaskPhase.Cancelled);
        uint96 amount = t.pool;
        if (amount == 0) revert NothingToReturn(taskId);
        t.pool = 0;
        emit PoolReturned(taskId, t.operator, amount);
        _push(t.operator, amount);
    }

    /// @inheritdoc IFLCoordinator
    function sweep(uint256 taskId) external nonReentrant {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        _requireEnded(taskId, c);
        uint256 until = c.deadline + CLAIM_PERIOD;
        if (block.timestamp <= until) revert DeadlineNotReached(taskId, until, block.timestamp);
        uint96 amount = t.unclaimed;
        if (amount == 0) revert NothingToReturn(taskId);
        t.unclaimed = 0;
        emit RewardsSwept(taskId, t.operator, amount);
        _push(t.operator, amount);
    }

    // ------------------------------------------------------------------- private

    function _requireEnded(uint256 taskId, Core memory c) private pure {
        if (c.phase != TaskPhase.Cancelled) _requirePhase(taskId, c, TaskPhase.Completed);
    }

    function _check(TaskParams calldata p) private pure {
        if (p.configHash == 0) revert ZeroHash("configHash");
        if (p.modelHash == 0) revert ZeroHash("modelHash");
        _within("rounds", p.rounds, 1, type(uint16).max);
        _within("maxParticipants", p.maxParticipants, 1, MAX_PARTICIPANTS);
        _within("minParticipants", p.minParticipants, 1, p.maxParticipants);
        _within("joinSeconds", p.joinSeconds, 1, MAX_SECONDS);
        _within("updateSeconds", p.updateSeconds, 1, MAX_SECONDS);
        _within("scoreSeconds", p.scoreSeconds, 1, MAX_SECONDS);
        _within("aggregateSeconds", p.aggregateSeconds, 1, MAX_SECONDS);
        uint256 n = p.evaluators.length;
        _within("evaluators", n, 1, MAX_EVALUATORS);
        // A majority: no two different results can both reach it.
        _within("quorum", p.quorum, n / 2 + 1, n);
        for (uint256 i = 0; i < n; ++i) {
            address evaluator = p.evaluators[i];
            if (evaluator == address(0)) revert ZeroAddress("evaluator");
            for (uint256 j = 0; j < i; ++j) {
                if (p.evaluators[j] == evaluator) revert DuplicateEvaluator(evaluator);
            }
        }
    }

    function _within(string memory name, uint256 value, uint256 minimum, uint256 maximum) private pure {
        if (value < minimum || value > maximum) revert OutOfRange(name, value, minimum, maximum);
    }
}
