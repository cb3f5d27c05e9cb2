// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IFLCoordinator} from "../interfaces/IFLCoordinator.sol";
import {Lanes} from "./Lanes.sol";
import {SignedUpdates} from "./SignedUpdates.sol";

/// @title What the coordinator remembers, what can be read of it, and how tokens move
abstract contract FLState is IFLCoordinator, EIP712 {
    using SafeERC20 for IERC20;

    // Not public: each external function makes the ones dispatched after it 22 gas dearer. See limits().
    uint16 internal constant MAX_PARTICIPANTS = 1000; // five lanes: what opening a round may rewrite
    uint8 internal constant MAX_EVALUATORS = 16; // the width of the scored and voted bitmaps
    uint32 internal constant MAX_SECONDS = 365 days; // no deadline may lock money for longer
    uint32 internal constant MAX_ACCURACY_PPM = 1_000_000;
    uint256 internal constant CLAIM_PERIOD = 365 days;
    /// @dev No hash has this value, so nothing can be claimed against it; not zero, so that the first
    /// round costs no more than the others.
    bytes32 internal constant NO_ROOT = bytes32(uint256(1));
    address internal constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;

    /// @dev The part of a task that changes as it goes: one slot, unpacked by _load, packed by _save.
    struct Core {
        TaskPhase phase;
        RoundPhase roundPhase;
        RewardMode rewardMode;
        bool stopping; // cancelled with effect from the end of this round
        bool toppedUp; // spread the pool anew when this round is finalised
        uint8 quorum;
        uint8 evaluators;
        uint16 round;
        uint16 rounds;
        uint16 minParticipants;
        uint16 maxParticipants;
        uint16 members; // indices handed out; removed bits only ever cover 0 .. members - 1
        uint16 active; // members - active = number of removed bits
        uint16 staked; // members whose stake is held here
        uint16 scored; // bit per evaluator, this round
        uint16 voted; // bit per evaluator, this round
        uint40 deadline; // of the phase; once ended: when
        uint32 aggregateSeconds;
    }

    /// @dev Six slots, laid out by what is used together: finalising a round touches four of them.
    struct Task {
        uint256 core; // a packed Core
        // Balance of the coordinator = sum over tasks of pool + unclaimed + stake * core.staked.
        uint96 pool; // not yet credited to a round
        uint96 unclaimed; // credited, not yet paid
        uint32 updateSeconds;
        uint32 scoreSeconds;
        uint96 perRound; // what each round but the last pays; <= pool / rounds left
        address firstEvaluator; // the others are in _evaluators
        address operator;
        uint96 stake;
        bytes32 modelHash;
        bytes32 rewardRoot; // NO_ROOT until a round is finalised
        bytes32 configHash;
    }

    /// @dev One slot; _statusOf, _indexOf and _samplesCapOf take its word apart on the hot path.
    struct Member {
        MemberStatus status;
        uint16 index;
        uint32 samplesCap;
        uint96 claimed;
    }

    IERC20 internal immutable _token;
    uint64 internal _taskCount; // shares a slot with the pause flag
    mapping(uint256 taskId => Task) internal _tasks;
    mapping(uint256 taskId => mapping(address account => Member)) internal _members;
    mapping(uint256 taskId => mapping(uint256 index => address)) internal _evaluators;
    mapping(uint256 taskId => mapping(uint256 lane => uint256)) internal _lanes;
    /// @dev Bits of indices nobody awaits: free ones while Open, members that left or were slashed after.
    mapping(uint256 taskId => mapping(uint256 lane => uint256)) internal _removed;
    /// @dev Aggregate votes: a count. Slash votes: a bit per evaluator. Never touched with a quorum of 1.
    mapping(bytes32 key => uint256) internal _votes;

    // --------------------------------------------------------------------- views

    /// @inheritdoc IFLCoordinator
    function task(uint256 taskId) external view returns (TaskView memory) {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        return TaskView({
            phase: c.phase,
            rewardMode: c.rewardMode,
            operator: t.operator,
            configHash: t.configHash,
            modelHash: t.modelHash,
            rewardRoot: t.rewardRoot == NO_ROOT ? bytes32(0) : t.rewardRoot,
            pool: t.pool,
            unclaimed: t.unclaimed,
            stake: t.stake,
            rounds: c.rounds,
            round: c.round,
            minParticipants: c.minParticipants,
            maxParticipants: c.maxParticipants,
            members: c.members,
            active: c.active,
            evaluators: c.evaluators,
            quorum: c.quorum,
            stopping: c.stopping,
            deadline: c.deadline,
            updateSeconds: t.updateSeconds,
            scoreSeconds: t.scoreSeconds,
            aggregateSeconds: c.aggregateSeconds
        });
    }

    /// @inheritdoc IFLCoordinator
    function member(uint256 taskId, address account) external view returns (MemberView memory) {
        Member memory m = _members[taskId][account];
        uint96 held = _holdsStake(m.status) ? _tasks[taskId].stake : 0;
        return MemberView(m.status, m.index, m.samplesCap, held, m.claimed);
    }

    /// @inheritdoc IFLCoordinator
    function roundState(uint256 taskId) external view returns (RoundView memory) {
        Core memory c = _load(_tasks[taskId]);
        uint256 updates = c.roundPhase == RoundPhase.None ? 0 : _countUpdates(taskId, c);
        uint256 awaited = c.roundPhase == RoundPhase.Updates ? c.active - updates : 0;
        return RoundView(c.round, c.roundPhase, c.deadline, uint16(updates), uint16(awaited), c.scored, c.voted);
    }

    /// @inheritdoc IFLCoordinator
    function evaluators(uint256 taskId) external view returns (address[] memory list) {
        list = new address[](_load(_tasks[taskId]).evaluators);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = i == 0 ? _tasks[taskId].firstEvaluator : _evaluators[taskId][i];
        }
    }

    /// @inheritdoc IFLCoordinator
    function hasSubmitted(uint256 taskId, address account) external view returns (bool) {
        Member memory m = _members[taskId][account];
        if (m.status == MemberStatus.None) revert NotMember(taskId, account);
        return _lanes[taskId][m.index / Lanes.WIDTH] & (1 << (m.index % Lanes.WIDTH)) != 0;
    }

    /// @inheritdoc IFLCoordinator
    function roundReward(uint256 taskId) external view returns (uint96) {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        return c.phase == TaskPhase.Running ? _reward(t, c) : 0;
    }

    /// @inheritdoc IFLCoordinator
    function aggregateVotes(uint256 taskId, uint16 round, bytes32 modelHash, bytes32 rewardRoot, uint32 accuracyPpm)
        external
        view
        returns (uint256)
    {
        return _votes[_aggregateKey(taskId, round, modelHash, rewardRoot, accuracyPpm)];
    }

    /// @inheritdoc IFLCoordinator
    function expirable(uint256 taskId) external view returns (bool) {
        return _expirable(taskId, _tasks[taskId], _load(_tasks[taskId]));
    }

    /// @inheritdoc IFLCoordinator
    function escrow(uint256 taskId) public view returns (uint256 pool, uint256 unclaimed, uint256 stakes) {
        Task storage t = _tasks[taskId];
        return (t.pool, t.unclaimed, uint256(t.stake) * _load(t).staked);
    }

    /// @inheritdoc IFLCoordinator
    function liabilities(uint256 from, uint256 to) external view returns (uint256 total) {
        for (uint256 id = from; id <= to; ++id) {
            (uint256 pool, uint256 unclaimed, uint256 stakes) = escrow(id);
            total += pool + unclaimed + stakes;
        }
    }

    /// @inheritdoc IFLCoordinator
    function taskCount() external view returns (uint256) {
        return _taskCount;
    }

    /// @inheritdoc IFLCoordinator
    function token() external view returns (address) {
        return address(_token);
    }

    /// @inheritdoc IFLCoordinator
    function limits() external pure returns (Limits memory) {
        return Limits(MAX_PARTICIPANTS, MAX_EVALUATORS, MAX_SECONDS, CLAIM_PERIOD, BURN_ADDRESS);
    }

    /// @inheritdoc IFLCoordinator
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @inheritdoc IFLCoordinator
    function updateDigest(uint256 taskId, uint16 round, bytes32 updateHash, uint32 samples)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(SignedUpdates.TYPEHASH, taskId, round, updateHash, samples)));
    }

    // ------------------------------------------------------------------ internal

    /// @dev One SLOAD. By hand, because the compiler's field-by-field copy is three times the code.
    function _load(Task storage t) internal view returns (Core memory c) {
        uint256 word = t.core;
        c.phase = TaskPhase(word & 0xff);
        c.roundPhase = RoundPhase((word >> 8) & 0xff);
        c.rewardMode = RewardMode((word >> 16) & 0xf);
        c.stopping = (word >> 20) & 1 != 0;
        c.toppedUp = (word >> 21) & 1 != 0;
        c.quorum = uint8(word >> 24);
        c.evaluators = uint8(word >> 32);
        c.round = uint16(word >> 40);
        c.rounds = uint16(word >> 56);
        c.minParticipants = uint16(word >> 72);
        c.maxParticipants = uint16(word >> 88);
        c.members = uint16(word >> 104);
        c.active = uint16(word >> 120);
        c.staked = uint16(word >> 136);
        c.scored = uint16(word >> 152);
        c.voted = uint16(word >> 168);
        c.deadline = uint40(word >> 184);
        c.aggregateSeconds = uint32(word >> 224);
    }

    /// @dev One SSTORE.
    function _save(Task storage t, Core memory c) internal {
        uint256 word = uint256(c.phase) | (uint256(c.roundPhase) << 8) | (uint256(c.rewardMode) << 16);
        if (c.stopping) word |= 1 << 20;
        if (c.toppedUp) word |= 1 << 21;
        word |= (uint256(c.quorum) << 24) | (uint256(c.evaluators) << 32);
        word |= (uint256(c.round) << 40) | (uint256(c.rounds) << 56);
        word |= (uint256(c.minParticipants) << 72) | (uint256(c.maxParticipants) << 88);
        word |= (uint256(c.members) << 104) | (uint256(c.active) << 120) | (uint256(c.staked) << 136);
        word |= (uint256(c.scored) << 152) | (uint256(c.voted) << 168) | (uint256(c.deadline) << 184);
        word |= uint256(c.aggregateSeconds) << 224;
        t.core = word;
    }

    /// @dev Whether a task cannot go on by itself; the list is in IFLCoordinator.expire.
    function _expirable(uint256 taskId, Task storage t, Core memory c) internal view returns (bool) {
        uint256 time = block.timestamp;
        if (c.phase == TaskPhase.Open) return time > c.deadline && c.active < c.minParticipants;
        if (c.phase != TaskPhase.Running) return false;
        if (c.roundPhase == RoundPhase.Updates) {
            if (c.active == 0 || time > uint256(c.deadline) + t.scoreSeconds) return true;
            return time > c.deadline && _countUpdates(taskId, c) == 0;
        }
        if (c.roundPhase == RoundPhase.Scoring) {
            if (Lanes.popcount(c.scored) < c.quorum) return time > c.deadline;
            return time > uint256(c.deadline) + c.aggregateSeconds;
        }
        return time > c.deadline || Lanes.popcount(c.voted) == c.evaluators;
    }

    /// @dev Active members that have submitted in the current round.
    function _countUpdates(uint256 taskId, Core memory c) internal view returns (uint256 updates) {
        uint256 lanes = Lanes.count(c.members);
        bool someRemoved = c.active != c.members;
        for (uint256 i = 0; i < lanes; ++i) {
            uint256 bits = _lanes[taskId][i] & Lanes.BITS;
            if (someRemoved) bits &= ~_removed[taskId][i];
            updates += Lanes.popcount(bits);
        }
    }

    /// @dev What the current round pays: an equal part, and the last round what is left.
    function _reward(Task storage t, Core memory c) internal view returns (uint96) {
        return c.round == c.rounds ? t.pool : t.perRound;
    }

    function _memberWord(Member storage m) internal view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(m.slot)
        }
    }

    function _statusOf(uint256 word) internal pure returns (uint256) {
        return uint8(word);
    }

    function _indexOf(uint256 word) internal pure returns (uint256) {
        return uint16(word >> 8);
    }

    function _samplesCapOf(uint256 word) internal pure returns (uint32) {
        return uint32(word >> 24);
    }

    function _holdsStake(MemberStatus status) internal pure returns (bool) {
        return status == MemberStatus.Active || status == MemberStatus.Left;
    }

    function _aggregateKey(uint256 taskId, uint16 round, bytes32 modelHash, bytes32 rewardRoot, uint32 accuracyPpm)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(taskId, round, modelHash, rewardRoot, accuracyPpm));
    }

    /// @dev Takes exactly `amount`: a token that keeps a fee would leave the escrow short.
    function _pull(address from, uint256 amount) internal {
        if (amount == 0) return;
        uint256 before = _token.balanceOf(address(this));
        _token.safeTransferFrom(from, address(this), amount);
        uint256 received = _token.balanceOf(address(this)) - before;
        if (received != amount) revert TransferMismatch(amount, received);
    }

    function _push(address to, uint256 amount) internal {
        if (amount != 0) _token.safeTransfer(to, amount);
    }

    /// @dev A refused transfer must not keep a task from ending: the pool then waits for returnPool.
    function _tryReturnPool(uint256 taskId, Task storage t) internal {
        uint96 amount = t.pool;
        if (amount == 0) return;
        t.pool = 0;
        address operator = t.operator;
        if (_token.trySafeTransfer(operator, amount)) {
            emit PoolReturned(taskId, operator, amount);
        } else {
            t.pool = amount;
        }
    }
}
