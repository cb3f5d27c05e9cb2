// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IFLCoordinatorTypes} from "./IFLCoordinatorTypes.sol";

/// @title IFLCoordinator: tasks of federated learning, their record and their money
/// @notice One contract holds every task. A task is Open (participants join and stake), then Running
/// (rounds of updates, scores and an aggregate), then Completed or Cancelled. Money never depends on
/// anybody's good will: after a missed deadline anyone can move a task on, and stakes, the unspent
/// pool and earned rewards can always be taken out.
/// @dev Amounts are in wei of the token, times in unix seconds, a deadline is the last second at
/// which the thing is still possible. Task ids, rounds start at 1; member and evaluator indices at 0.
interface IFLCoordinator is IFLCoordinatorTypes {
    // ------------------------------------------------------------------ operator

    /// @notice Opens a task and escrows its pool, which must be approved beforehand.
    /// @dev Ends after `joinSeconds` for joining; each round adds its own deadlines.
    /// Reverts with OutOfRange, ZeroHash, ZeroAddress, DuplicateEvaluator, TransferMismatch, EnforcedPause.
    /// @param params Hashes, money, sizes, durations and evaluators; see TaskParams.
    /// @return taskId The new task's id.
    function createTask(TaskParams calldata params) external returns (uint256 taskId);

    /// @notice Adds to the pool of a task. Anyone may; the operator gets back what is not spent.
    /// @dev While the task is Open, or Running and not in its last round. The reward of a running round
    /// never changes, because evaluators may be computing its Merkle root already: the addition is
    /// spread evenly over the rounds after it.
    function topUp(uint256 taskId, uint96 amount) external;

    /// @notice Starts the first round. The operator at any time with enough members, anyone after the
    /// join deadline.
    function start(uint256 taskId) external;

    /// @notice Ends a task early and returns the unspent pool to the operator.
    /// @dev Immediately while the task is Open or nobody has submitted in the current round. Otherwise
    /// TaskStopping is emitted, the current round is finished and paid as usual, and the task is
    /// cancelled with it: an operator cannot take training work and withhold its reward.
    function cancel(uint256 taskId) external;

    // --------------------------------------------------------------- participant

    /// @notice Joins a task and pays its stake, which must be approved beforehand.
    /// @param samplesCap Most samples this participant will ever declare for one update (at least 1).
    function join(uint256 taskId, uint32 samplesCap) external;

    /// @notice Joins with an ERC-2612 permit for the stake instead of an earlier approval.
    /// @dev A permit that was already used (front-run) is no obstacle as long as the allowance is there.
    function joinWithPermit(uint256 taskId, uint32 samplesCap, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;

    /// @notice Leaves a task. While it is Open the stake comes back at once and the index is free again;
    /// while it is Running the member is no longer awaited, keeps what was earned, and gets the stake
    /// with returnStake when the task has ended.
    function leave(uint256 taskId) external;

    /// @notice Submits the hash of a client update, once a round, until the update deadline.
    /// @param round The current round, so that a late transaction cannot land in the next one.
    /// @param updateHash keccak256(abi.encode(participant, taskId, round, contentHash)): it binds the
    /// sender, so a copied hash proves nothing for the one who copied it.
    /// @param samples Samples trained on, from 1 to the declared cap.
    function submitUpdate(uint256 taskId, uint16 round, bytes32 updateHash, uint32 samples) external;

    /// @notice Submits updates that participants signed (EIP-712 type
    /// `Update(uint256 taskId,uint16 round,bytes32 updateHash,uint32 samples)`). Anyone may relay.
    /// @dev Updates of members that have submitted already, or left, are skipped, so that nobody can
    /// block a batch by sending one of its updates first; UpdatesRelayed holds the accepted ones. If
    /// none is left the call reverts with NoNewUpdates. Everything else that is wrong reverts.
    /// Contract accounts cannot sign; they use submitUpdate.
    /// @param updates Packed, 38 bytes each: uint16 member index, bytes32 updateHash, uint32 samples,
    /// big-endian.
    /// @param signatures Packed, 64 bytes each in the same order: bytes32 r, bytes32 yParityAndS
    /// (ERC-2098 compact form).
    function submitUpdatesBySig(uint256 taskId, uint16 round, bytes calldata updates, bytes calldata signatures)
        external;

    /// @notice Pays a participant everything earned and not yet paid. Anyone may call; only the
    /// participant is paid.
    /// @param cumulativeAmount All the participant has earned in this task up to the last finalised round.
    /// @param proof Merkle proof (sorted pairs) of the leaf
    /// keccak256(bytes.concat(keccak256(abi.encode(taskId, participant, cumulativeAmount)))).
    function claim(uint256 taskId, address participant, uint96 cumulativeAmount, bytes32[] calldata proof) external;

    /// @notice Returns a stake after the task has ended. Anyone may call; only the participant is paid.
    function returnStake(uint256 taskId, address participant) external;

    // ----------------------------------------------------------------- evaluator

    /// @notice Publishes an evaluator's scores of the current round, once.
    /// @dev The first one closes the updates, which needs every awaited member's update, or the update
    /// deadline passed and at least one update. Aggregating opens when every evaluator has scored, or
    /// when the score deadline has passed and a quorum has; scores are frozen from then on. Until a
    /// quorum has scored, scores are taken after the deadline too.
    /// @param scores Big-endian uint32 for each member index, 4 bytes each, 0 where nothing counts.
    function submitScores(uint256 taskId, uint16 round, bytes calldata scores) external;

    /// @notice Votes for the result of the current round, once. The quorum-th identical
    /// (modelHash, rewardRoot, accuracyPpm) finalises the round: its reward is credited, the root
    /// replaces the previous one, and the next round opens, or the task completes.
    /// @dev Opens Aggregating itself when the score deadline has passed with a quorum of scores. Votes
    /// are taken after the aggregate deadline too, until somebody calls expire.
    /// @param modelHash keccak256 of the new global model.
    /// @param rewardRoot Root over cumulative earnings, of all participants that ever earned.
    /// @param accuracyPpm Held-out accuracy in parts per million, at most 1,000,000.
    function submitAggregate(uint256 taskId, uint16 round, bytes32 modelHash, bytes32 rewardRoot, uint32 accuracyPpm)
        external;

    /// @notice Votes for slashing a member of a Running task; a quorum for the same evidence burns the
    /// whole stake (sends it to limits().burn). Nobody gains by it, so nobody has a reason to do it wrongly.
    /// @dev The member is no longer awaited and counts no more; what was earned stays claimable.
    /// @param evidenceHash keccak256 of the published evidence, not zero.
    function slash(uint256 taskId, address participant, bytes32 evidenceHash) external;

    // -------------------------------------------------------------------- anyone

    /// @notice Cancels a task that can no longer go on by itself and returns the unspent pool.
    /// @dev Possible when (see expirable): joining ended with too few members; nobody is left; no update
    /// came by the deadline; no evaluator scored within `scoreSeconds` after the update deadline; fewer
    /// than a quorum scored by the score deadline; no quorum for a result by the aggregate deadline
    /// (counted from the score deadline when nobody opened Aggregating); or every evaluator has voted and
    /// no result has a quorum.
    function expire(uint256 taskId) external;

    /// @notice Sends the unspent pool of a cancelled task to its operator, should the transfer have
    /// failed when it was cancelled.
    function returnPool(uint256 taskId) external;

    /// @notice `limits().claimPeriod` after the end of a task, sends what nobody claimed to the operator.
    function sweep(uint256 taskId) external;

    // --------------------------------------------------------------------- admin

    /// @notice Stops or allows new tasks. Running tasks and withdrawals are never affected.
    function setPaused(bool paused) external;

    // --------------------------------------------------------------------- views

    /// @notice Everything about a task that is not per member.
    function task(uint256 taskId) external view returns (TaskView memory);

    /// @notice A member of a task; status None when the account is not one.
    function member(uint256 taskId, address account) external view returns (MemberView memory);

    /// @notice Where the current round stands.
    function roundState(uint256 taskId) external view returns (RoundView memory);

    /// @notice The evaluators in index order.
    function evaluators(uint256 taskId) external view returns (address[] memory);

    /// @notice Whether a member has submitted in the current round or is no longer awaited.
    function hasSubmitted(uint256 taskId, address account) external view returns (bool);

    /// @notice What the current round pays when it is finalised (wei); 0 when no round is running.
    function roundReward(uint256 taskId) external view returns (uint96);

    /// @notice Votes so far for one result of a round.
    function aggregateVotes(uint256 taskId, uint16 round, bytes32 modelHash, bytes32 rewardRoot, uint32 accuracyPpm)
        external
        view
        returns (uint256);

    /// @notice Whether expire would succeed now.
    function expirable(uint256 taskId) external view returns (bool);

    /// @notice What the coordinator holds for a task: unspent pool, credited and unclaimed rewards, stakes.
    function escrow(uint256 taskId) external view returns (uint256 pool, uint256 unclaimed, uint256 stakes);

    /// @notice Sum of escrow over the tasks from..to (inclusive). Over all tasks it equals the
    /// coordinator's token balance, less what was sent to it by mistake.
    function liabilities(uint256 from, uint256 to) external view returns (uint256);

    /// @notice Number of tasks ever created; the last task's id.
    function taskCount() external view returns (uint256);

    /// @notice The ERC-20 token of all pools, stakes and rewards.
    function token() external view returns (address);

    /// @notice The bounds that hold for every task.
    function limits() external view returns (Limits memory);

    /// @notice EIP-712 domain separator (name "FLCoordinator", version "1").
    function domainSeparator() external view returns (bytes32);

    /// @notice The digest a participant signs for a relayed update.
    function updateDigest(uint256 taskId, uint16 round, bytes32 updateHash, uint32 samples)
        external
        view
        returns (bytes32);
}
