// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Types, events and errors of the coordinator
interface IFLCoordinatorTypes {
    enum TaskPhase {
        None,
        Open,
        Running,
        Completed,
        Cancelled
    }

    enum RoundPhase {
        None,
        Updates,
        Scoring,
        Aggregating,
        Finalized
    }

    /// @notice How evaluators split a round's reward: equally, by declared samples, by score.
    enum RewardMode {
        Equal,
        Samples,
        Score
    }

    enum MemberStatus {
        None,
        Active,
        Left,
        Slashed,
        Returned
    }

    struct TaskParams {
        bytes32 configHash; // keccak256 of the canonical configuration JSON
        bytes32 modelHash; // keccak256 of the initial global model
        uint96 pool; // wei; a round pays pool / rounds, the last one the remainder too
        uint96 stake; // wei each participant deposits
        uint16 rounds; // 1 .. 65535
        uint16 minParticipants; // 1 .. maxParticipants
        uint16 maxParticipants; // .. 1000
        uint8 quorum; // identical votes to finalise or slash: more than half of the evaluators
        RewardMode rewardMode;
        uint32 joinSeconds; // all durations 1 s .. 365 days
        uint32 updateSeconds;
        uint32 scoreSeconds;
        uint32 aggregateSeconds;
        address[] evaluators; // 1 .. 16, all different
    }

    struct TaskView {
        TaskPhase phase;
        RewardMode rewardMode;
        address operator;
        bytes32 configHash;
        bytes32 modelHash; // of the latest finalised round; the initial one before
        bytes32 rewardRoot; // of the latest finalised round; zero before
        uint96 pool; // wei not yet credited to a round
        uint96 unclaimed; // wei credited and not yet paid
        uint96 stake;
        uint16 rounds;
        uint16 round; // current round, or the last one; 0 before the start
        uint16 minParticipants;
        uint16 maxParticipants;
        uint16 members; // member indices handed out: indices are 0 .. members - 1
        uint16 active; // members that have neither left nor been slashed
        uint8 evaluators;
        uint8 quorum;
        bool stopping; // cancelled with effect from the end of the current round
        uint40 deadline; // of the current phase; the end time of an ended task
        uint32 updateSeconds;
        uint32 scoreSeconds;
        uint32 aggregateSeconds;
    }

    struct MemberView {
        MemberStatus status;
        uint16 index;
        uint32 samplesCap;
        uint96 stake; // wei still held
        uint96 claimed; // wei paid as rewards so far
    }

    struct RoundView {
        uint16 round;
        RoundPhase phase;
        uint40 deadline; // of the phase
        uint16 updates; // of members that are still active
        uint16 awaited; // active members that have not submitted, while updates are taken
        uint16 scored; // bit i: evaluator i has published scores
        uint16 voted; // bit i: evaluator i has voted
    }

    struct Limits {
        uint16 participants; // most members of a task: 1000
        uint8 evaluators; // most evaluators of a task: 16
        uint32 duration; // longest phase: 365 days
        uint256 claimPeriod; // seconds after the end of a task until sweep: 365 days
        address burn; // where slashed stakes go
    }

    event TaskCreated(
        uint256 indexed taskId, address indexed operator, bytes32 indexed configHash, TaskParams params
    );
    event ParticipantJoined(
        uint256 indexed taskId, address indexed participant, uint16 index, uint32 samplesCap, uint96 stake
    );
    event ParticipantLeft(uint256 indexed taskId, address indexed participant, uint96 stakeReturned);
    /// @notice A vote that did not reach the quorum yet; the one that does emits ParticipantSlashed.
    event SlashVoted(
        uint256 indexed taskId, address indexed participant, address indexed evaluator, bytes32 evidenceHash
    );
    event ParticipantSlashed(
        uint256 indexed taskId, address indexed participant, uint96 amount, bytes32 evidenceHash
    );
    event TaskStarted(uint256 indexed taskId, uint16 participants);
    event RoundOpened(uint256 indexed taskId, uint16 indexed round, bytes32 modelHash, uint40 updateDeadline);
    event UpdateSubmitted(
        uint256 indexed taskId, address indexed participant, uint16 round, bytes32 updateHash, uint32 samples
    );
    /// @notice Accepted relayed updates, packed 38 bytes each, big-endian: uint16 member index (of
    /// ParticipantJoined), bytes32 updateHash, uint32 samples. One event for each run of accepted
    /// updates: a batch of which some are skipped emits several.
    event UpdatesRelayed(uint256 indexed taskId, uint16 indexed round, bytes updates);
    event ScoringOpened(uint256 indexed taskId, uint16 indexed round, uint16 updates, uint40 deadline);
    event ScoresSubmitted(uint256 indexed taskId, uint16 indexed round, address indexed evaluator, bytes scores);
    event AggregatingOpened(uint256 indexed taskId, uint16 indexed round, uint40 deadline);
    event AggregateSubmitted(
        uint256 indexed taskId,
        uint16 indexed round,
        address indexed evaluator,
        bytes32 modelHash,
        bytes32 rewardRoot,
        uint32 accuracyPpm
    );
    event RoundFinalized(
        uint256 indexed taskId,
        uint16 indexed round,
        bytes32 modelHash,
        bytes32 rewardRoot,
        uint32 accuracyPpm,
        uint96 reward
    );
    event TaskCompleted(uint256 indexed taskId, bytes32 modelHash);
    /// @notice The operator cancelled while updates were in: the task ends with this round.
    event TaskStopping(uint256 indexed taskId, uint16 indexed lastRound);
    event TaskCancelled(uint256 indexed taskId, uint96 refund);
    event PoolToppedUp(uint256 indexed taskId, address indexed from, uint96 amount);
    event PoolReturned(uint256 indexed taskId, address indexed operator, uint96 amount);
    event StakeReturned(uint256 indexed taskId, address indexed participant, uint96 amount);
    event RewardClaimed(
        uint256 indexed taskId, address indexed participant, uint96 amount, uint96 cumulativeAmount
    );
    /// @notice Rewards that nobody claimed within the claim period went to the operator.
    event RewardsSwept(uint256 indexed taskId, address indexed operator, uint96 amount);

    error OutOfRange(string name, uint256 value, uint256 minimum, uint256 maximum);
    error ZeroHash(string name);
    error ZeroAddress(string name);
    error DuplicateEvaluator(address evaluator);
    error WrongTaskPhase(uint256 taskId, TaskPhase expected, TaskPhase actual);
    error WrongRoundPhase(uint256 taskId, RoundPhase expected, RoundPhase actual);
    error WrongRound(uint256 taskId, uint16 expected, uint16 actual);
    error NotOperator(uint256 taskId, address account);
    error NotEvaluator(uint256 taskId, address account);
    error NotMember(uint256 taskId, address account);
    error AlreadyMember(uint256 taskId, address account);
    error TaskFull(uint256 taskId, uint16 maxParticipants);
    error DeadlinePassed(uint256 taskId, uint256 deadline, uint256 time);
    error DeadlineNotReached(uint256 taskId, uint256 deadline, uint256 time);
    error TooFewParticipants(uint256 taskId, uint16 participants, uint16 minimum);
    error SamplesOutOfRange(address participant, uint32 samples, uint32 cap);
    error AlreadySubmitted(uint256 taskId, uint16 round, address participant);
    error UpdatesStillOpen(uint256 taskId, uint16 awaited, uint256 deadline);
    error NoUpdates(uint256 taskId, uint16 round);
    error NoNewUpdates(uint256 taskId, uint16 round);
    error BatchLength(uint256 updateBytes, uint256 signatureBytes);
    /// @notice The signature of the update for member `index` is another account's, or nobody's (zero).
    error InvalidSignature(uint16 index, address recovered);
    error ScoresLength(uint256 bytesGiven, uint256 bytesExpected);
    error ScoresClosed(uint256 taskId, uint16 round);
    error AlreadyScored(uint256 taskId, uint16 round, address evaluator);
    error AlreadyVoted(uint256 taskId, uint16 round, address evaluator);
    error AlreadySlashVoted(uint256 taskId, address participant, address evaluator);
    error AlreadyStopping(uint256 taskId);
    error InvalidProof(uint256 taskId, address participant, uint96 cumulativeAmount);
    error NothingToClaim(uint256 taskId, address participant, uint96 claimed);
    error AllocationExceeded(uint256 taskId, uint96 requested, uint96 available);
    error NothingToReturn(uint256 taskId);
    error NoStake(uint256 taskId, address participant);
    error TopUpClosed(uint256 taskId, uint16 round, uint16 rounds);
    error TransferMismatch(uint256 expected, uint256 received);
    error NotExpirable(uint256 taskId, uint256 deadline, uint256 time);
}
