// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IFLCoordinator} from "../interfaces/IFLCoordinator.sol";
import {FLState} from "./FLState.sol";
import {Lanes} from "./Lanes.sol";
import {SignedUpdates} from "./SignedUpdates.sol";

/// @title The life of a round: updates, scores, aggregate, and the next one
abstract contract FLRounds is FLState, ReentrancyGuardTransient {
    using Lanes for uint256;

    uint256 private constant UPDATE_BYTES = 38; // uint16 index, bytes32 hash, uint32 samples
    uint256 private constant SIGNATURE_BYTES = 64; // ERC-2098
    uint256 private constant NO_LANE = 1 << 255; // more than a lane's width away from every index

    // ------------------------------------------------------------------- updates

    /// @inheritdoc IFLCoordinator
    function submitUpdate(uint256 taskId, uint16 round, bytes32 updateHash, uint32 samples) external {
        uint256 word = _memberWord(_members[taskId][msg.sender]);
        if (_statusOf(word) != uint256(MemberStatus.Active)) revert NotMember(taskId, msg.sender);
        _checkUpdate(msg.sender, word, updateHash, samples);
        uint256 index = _indexOf(word);
        mapping(uint256 => uint256) storage lanes = _lanes[taskId];
        uint256 laneIndex = index / Lanes.WIDTH;
        uint256 lane = lanes[laneIndex];
        _requireTaking(taskId, round, lane);
        uint256 bit = 1 << (index % Lanes.WIDTH);
        if (lane & bit != 0) revert AlreadySubmitted(taskId, round, msg.sender);
        lanes[laneIndex] = lane | bit;
        emit UpdateSubmitted(taskId, msg.sender, round, updateHash, samples);
    }

    /// @inheritdoc IFLCoordinator
    function submitUpdatesBySig(uint256 taskId, uint16 round, bytes calldata updates, bytes calldata signatures)
        external
    {
        unchecked {
            uint256 n = updates.length / UPDATE_BYTES;
            if (n == 0 || updates.length != n * UPDATE_BYTES || signatures.length != n * SIGNATURE_BYTES) {
                revert BatchLength(updates.length, signatures.length);
            }
        }
        uint256 workspace =
            SignedUpdates.prepare(_domainSeparatorV4(), taskId, round, _slotOf(_members[taskId]));
        uint256 update;
        uint256 end;
        uint256 signature;
        assembly ("memory-safe") {
            update := updates.offset
            end := add(update, updates.length)
            signature := signatures.offset
        }
        _relay(taskId, round, update, end, signature, workspace);
    }

    /// @dev Takes the updates at the calldata offsets `update` .. `end`. Each run of accepted ones is one
    /// event, copied from calldata as it is: nearly always a single run.
    function _relay(
        uint256 taskId,
        uint16 round,
        uint256 update,
        uint256 end,
        uint256 signature,
        uint256 workspace
    ) private {
        // The lane being filled, and its first index: written when the batch moves on, and at the end.
        uint256 lane = 0;
        uint256 first = NO_LANE;
        uint256 run = update;
        bool some = false;
        unchecked {
            // Offsets stay inside calldata, indices below 2^16: nothing here comes near 2^256.
            for (; update < end; (update, signature) = (update + UPDATE_BYTES, signature + SIGNATURE_BYTES)) {
                uint256 index = _indexAt(update);
                if (index - first >= Lanes.WIDTH) {
                    if (first != NO_LANE) _lanes[taskId][first / Lanes.WIDTH] = lane;
                    first = index - index % Lanes.WIDTH;
                    lane = _lanes[taskId][first / Lanes.WIDTH];
                    _requireTaking(taskId, round, lane);
                }
                if ((lane >> (index - first)) & 1 != 0) {
                    if (_emitRun(taskId, round, run, update)) some = true;
                    run = update + UPDATE_BYTES;
                    continue;
                }
                lane |= 1 << (index - first);
                _checkSigned(workspace, index, update, signature);
            }
        }
        if (_emitRun(taskId, round, run, end)) some = true;
        if (!some) revert NoNewUpdates(taskId, round);
        _lanes[taskId][first / Lanes.WIDTH] = lane;
    }

    /// @dev Reverts unless the update is signed by the active member `index`, has a hash, and declares
    /// samples within the cap. One test for all of it, as it nearly always passes.
    function _checkSigned(uint256 workspace, uint256 index, uint256 update, uint256 signature) private view {
        (uint256 signer, uint256 word, uint256 samples) = SignedUpdates.signer(workspace, update, signature);
        uint256 wrong;
        assembly ("memory-safe") {
            // Status and index (the null address of a bad signature is no member, its status is
            // None), then the hash, then 1 .. cap (0 - 1 wraps).
            wrong := xor(and(word, 0xffffff), or(shl(8, index), 1))
            wrong := or(wrong, iszero(calldataload(add(update, 2))))
            wrong := or(wrong, iszero(lt(sub(samples, 1), and(shr(24, word), 0xffffffff))))
        }
        if (wrong == 0) return;
        address account = address(uint160(signer));
        if (uint24(word) != (index << 8 | uint256(MemberStatus.Active))) {
            revert InvalidSignature(uint16(index), account);
        }
        bytes32 updateHash;
        assembly ("memory-safe") {
            updateHash := calldataload(add(update, 2))
        }
        _checkUpdate(account, word, updateHash, uint32(samples));
    }

    function _emitRun(uint256 taskId, uint16 round, uint256 from, uint256 to) private returns (bool) {
        if (from == to) return false;
        bytes calldata updates;
        assembly ("memory-safe") {
            updates.offset := from
            updates.length := sub(to, from)
        }
        emit UpdatesRelayed(taskId, round, updates);
        return true;
    }

    function _indexAt(uint256 update) private pure returns (uint256 index) {
        assembly ("memory-safe") {
            index := shr(240, calldataload(update))
        }
    }

    function _checkUpdate(address participant, uint256 word, bytes32 updateHash, uint32 samples) private pure {
        if (updateHash == 0) revert ZeroHash("updateHash");
        uint32 cap = _samplesCapOf(word);
        if (samples == 0 || samples > cap) revert SamplesOutOfRange(participant, samples, cap);
    }

    function _slotOf(mapping(address => Member) storage table) private pure returns (uint256 slot) {
        assembly ("memory-safe") {
            slot := table.slot
        }
    }

    function _requireTaking(uint256 taskId, uint16 round, uint256 lane) private view {
        if (lane.roundOf() != round) revert WrongRound(taskId, lane.roundOf(), round);
        if (block.timestamp > lane.deadlineOf()) revert DeadlinePassed(taskId, lane.deadlineOf(), block.timestamp);
    }

    // ---------------------------------------------------------------- evaluation

    /// @inheritdoc IFLCoordinator
    function submitScores(uint256 taskId, uint16 round, bytes calldata scores) external {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        uint256 bit = _enter(taskId, round, t, c);
        if (c.roundPhase == RoundPhase.Updates) _openScoring(taskId, t, c);
        if (c.roundPhase != RoundPhase.Scoring) {
            revert WrongRoundPhase(taskId, RoundPhase.Scoring, c.roundPhase);
        }
        if (c.scored & bit != 0) revert AlreadyScored(taskId, round, msg.sender);
        if (_scoresComplete(c)) revert ScoresClosed(taskId, round);
        uint256 expected = uint256(c.members) * 4;
        if (scores.length != expected) revert ScoresLength(scores.length, expected);
        c.scored |= uint16(bit);
        emit ScoresSubmitted(taskId, round, msg.sender, scores);
        if (_scoresComplete(c)) _openAggregating(taskId, c);
        _save(t, c);
    }

    /// @inheritdoc IFLCoordinator
    function submitAggregate(uint256 taskId, uint16 round, bytes32 modelHash, bytes32 rewardRoot, uint32 accuracyPpm)
        external
        nonReentrant
    {
        Task storage t = _tasks[taskId];
        Core memory c = _load(t);
        uint256 bit = _enter(taskId, round, t, c);
        if (c.roundPhase == RoundPhase.Scoring && _scoresComplete(c)) _openAggregating(taskId, c);
        if (c.roundPhase != RoundPhase.Aggregating) {
            revert WrongRoundPhase(taskId, RoundPhase.Aggregating, c.roundPhase);
        }
        if (c.voted & bit != 0) revert AlreadyVoted(taskId, round, msg.sender);
        if (modelHash == 0) revert ZeroHash("modelHash");
        if (accuracyPpm > MAX_ACCURACY_PPM) revert OutOfRange("accuracyPpm", accuracyPpm, 0, MAX_ACCURACY_PPM);
        c.voted |= uint16(bit);
        emit AggregateSubmitted(taskId, round, msg.sender, modelHash, rewardRoot, accuracyPpm);
        if (c.quorum > 1) {
            uint256 votes = ++_votes[_aggregateKey(taskId, round, modelHash, rewardRoot, accuracyPpm)];
            if (votes < c.quorum) {
                _save(t, c);
                return;
            }
        }
        _finalize(taskId, t, c, modelHash, rewardRoot, accuracyPpm);
    }

    function _finalize(
        uint256 taskId,
        Task storage t,
        Core memory c,
        bytes32 modelHash,
        bytes32 rewardRoot,
        uint32 accuracyPpm
    ) private {
        uint96 reward = _reward(t, c);
        // A reward that no leaf can ever match would wait for the sweep.
        if (reward != 0 && rewardRoot == 0) revert ZeroHash("rewardRoot");
        (t.pool, t.unclaimed) = (t.pool - reward, t.unclaimed + reward);
        (t.modelHash, t.rewardRoot) = (modelHash, rewardRoot);
        emit RoundFinalized(taskId, c.round, modelHash, rewardRoot, accuracyPpm, reward);
        c.roundPhase = RoundPhase.Finalized;
        if (c.round == c.rounds) {
            (c.phase, c.deadline) = (TaskPhase.Completed, uint40(block.timestamp));
            _save(t, c);
            emit TaskCompleted(taskId, modelHash);
        } else if (c.stopping) {
            _cancel(taskId, t, c);
        } else {
            if (c.toppedUp) {
                t.perRound = t.pool / (c.rounds - c.round);
                c.toppedUp = false;
            }
            _openRound(taskId, t, c, modelHash);
            _save(t, c);
        }
    }

    // --------------------------------------------------------------- transitions

    /// @dev Changes `c` only; the caller stores it.
    function _openRound(uint256 taskId, Task storage t, Core memory c, bytes32 modelHash) internal {
        ++c.round;
        c.roundPhase = RoundPhase.Updates;
        (c.scored, c.voted) = (0, 0);
        c.deadline = uint40(block.timestamp + t.updateSeconds);
        bool someRemoved = c.active != c.members;
        uint256 lanes = Lanes.count(c.members);
        for (uint256 i = 0; i < lanes; ++i) {
            _lanes[taskId][i] = Lanes.open(c.round, c.deadline, someRemoved ? _removed[taskId][i] : 0);
        }
        emit RoundOpened(taskId, c.round, modelHash, c.deadline);
    }

    /// @dev The lanes need no closing: either every bit is set, or their deadline has passed.
    function _openScoring(uint256 taskId, Task storage t, Core memory c) private {
        uint256 updates = _countUpdates(taskId, c);
        if (updates < c.active && block.timestamp <= c.deadline) {
            revert UpdatesStillOpen(taskId, uint16(c.active - updates), c.deadline);
        }
        if (updates == 0) revert NoUpdates(taskId, c.round);
        c.roundPhase = RoundPhase.Scoring;
        c.deadline = uint40(block.timestamp + t.scoreSeconds);
        emit ScoringOpened(taskId, c.round, uint16(updates), c.deadline);
    }

    function _openAggregating(uint256 taskId, Core memory c) private {
        c.roundPhase = RoundPhase.Aggregating;
        c.deadline = uint40(block.timestamp + c.aggregateSeconds);
        emit AggregatingOpened(taskId, c.round, c.deadline);
    }

    /// @dev Ends a task and sends the unspent pool back. A round that was taking updates takes none after.
    function _cancel(uint256 taskId, Task storage t, Core memory c) internal {
        if (c.roundPhase == RoundPhase.Updates) {
            uint256 lanes = Lanes.count(c.members);
            for (uint256 i = 0; i < lanes; ++i) delete _lanes[taskId][i];
        }
        if (c.roundPhase != RoundPhase.Finalized) c.roundPhase = RoundPhase.None;
        (c.phase, c.deadline) = (TaskPhase.Cancelled, uint40(block.timestamp));
        _save(t, c);
        emit TaskCancelled(taskId, t.pool);
        _tryReturnPool(taskId, t);
    }

    /// @dev Nobody awaits this index any more, in this round or a later one. Changes `c`; caller stores it.
    function _remove(uint256 taskId, Core memory c, uint256 index) internal {
        uint256 bit = 1 << (index % Lanes.WIDTH);
        _removed[taskId][index / Lanes.WIDTH] |= bit;
        if (c.phase == TaskPhase.Running) _lanes[taskId][index / Lanes.WIDTH] |= bit;
        --c.active;
    }

    // -------------------------------------------------------------------- checks

    /// @dev What scores and votes have in common; returns the caller's evaluator bit.
    function _enter(uint256 taskId, uint16 round, Task storage t, Core memory c) private view returns (uint256) {
        _requirePhase(taskId, c, TaskPhase.Running);
        if (round != c.round) revert WrongRound(taskId, c.round, round);
        return _evaluatorBit(taskId, t, c);
    }

    /// @dev Everybody has scored, or time is up and a quorum has.
    function _scoresComplete(Core memory c) private view returns (bool) {
        uint256 scored = Lanes.popcount(c.scored);
        return scored == c.evaluators || (block.timestamp > c.deadline && scored >= c.quorum);
    }

    function _evaluatorBit(uint256 taskId, Task storage t, Core memory c) internal view returns (uint256) {
        if (t.firstEvaluator == msg.sender) return 1;
        for (uint256 i = 1; i < c.evaluators; ++i) {
            if (_evaluators[taskId][i] == msg.sender) return 1 << i;
        }
        revert NotEvaluator(taskId, msg.sender);
    }

    function _requirePhase(uint256 taskId, Core memory c, TaskPhase expected) internal pure {
        if (c.phase != expected) revert WrongTaskPhase(taskId, expected, c.phase);
    }
}
