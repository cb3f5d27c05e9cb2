// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base} from "./lib/Base.sol";
import {Merkle} from "./lib/Merkle.sol";

/// @dev Gas of whole transactions (isolate = true: base fee, calldata and cold storage included),
/// written to contracts/snapshots and held below the budgets of DESIGN section 3.
/// forge-config: default.isolate = true
contract GasTest is Base {
    function _record(string memory name, uint256 budget) private returns (uint256 gas) {
        gas = vm.snapshotGasLastCall("FLCoordinator", name);
        _le(gas, budget, name);
    }

    function test_gas_createTask() public {
        _create(_params(3, 10, 1));
        _record("createTask", 230_000);
        _create(_params(3, 10, 3));
        _record("createTask with 3 evaluators", 280_000);
    }

    function test_gas_join() public {
        uint256 taskId = _create(_params(3, 10, 1));
        _join(taskId, 0);
        _join(taskId, 1);
        _record("join", 80_000);
        address p = _participant(2);
        token.transfer(p, 10_000 ether);
        for (uint256 k = 0; k < 2; ++k) {
            // The first permit of an account also pays for its nonce's slot.
            (uint8 v, bytes32 r, bytes32 s) = _permit(2, STAKE, block.timestamp);
            vm.prank(p);
            flc.joinWithPermit(taskId, CAP, block.timestamp, v, r, s);
            _record(k == 0 ? "joinWithPermit, first permit" : "joinWithPermit, later", 110_000);
            vm.prank(p);
            flc.leave(taskId);
            _record("leave, task open", 75_000);
        }
    }

    /// Flat: what an update costs does not depend on how many take part.
    function test_gas_submitUpdate_is_flat() public {
        uint16[4] memory sizes = [4, 25, 100, 1000];
        uint256[4] memory gas;
        for (uint256 k = 0; k < 4; ++k) {
            uint16 n = sizes[k];
            uint256 taskId = _running(1, n, 1);
            _submit(taskId, 1, 0);
            _submit(taskId, 1, n - 1);
            gas[k] = _record(string.concat("submitUpdate, ", vm.toString(n), " participants"), 33_000);
        }
        // Nothing but the zero bytes of the ids, 12 gas each, may differ.
        for (uint256 k = 1; k < 4; ++k) _le(gas[k] > gas[0] ? gas[k] - gas[0] : gas[0] - gas[k], 50, "spread");
    }

    function test_gas_open_and_close_a_round_of_1000() public {
        uint256 taskId = _running(2, 1000, 1);
        vm.prank(_participant(0));
        flc.submitUpdate(taskId, 1, keccak256("update"), 1);
        vm.warp(block.timestamp + STEP + 1);
        _score(taskId, 1, 0);
        _record("submitScores, 1000 participants", 200_000);
        _vote(taskId, 1, 0, keccak256("root"));
        _record("submitAggregate, 1000 participants", 120_000);
    }

    function test_gas_others() public {
        uint256 taskId = _create(_params(3, 10, 1));
        for (uint256 i = 0; i < 10; ++i) _join(taskId, i);
        vm.prank(OPERATOR);
        flc.topUp(taskId, 1 ether);
        _record("topUp", 80_000);
        _start(taskId);
        _record("start, 10 participants", 80_000);
        vm.prank(_evaluator(0));
        flc.slash(taskId, _participant(9), keccak256("evidence"));
        _record("slash", 130_000);
        vm.warp(block.timestamp + STEP + 1);
        flc.expire(taskId);
        _record("expire", 80_000);
        flc.returnStake(taskId, _participant(0));
        _record("returnStake", 60_000);
        taskId = _create(_params(3, 10, 1));
        vm.prank(OPERATOR);
        flc.cancel(taskId);
        _record("cancel, task open", 60_000);
    }

    function test_gas_votes_of_three_evaluators() public {
        uint256 taskId = _running(2, 10, 3);
        _submitAll(taskId, 1, 10);
        for (uint256 e = 0; e < 3; ++e) {
            _score(taskId, 1, e);
            _record(string.concat("submitScores, evaluator ", vm.toString(e + 1), " of 3"), 60_000);
        }
        for (uint256 e = 0; e < 2; ++e) {
            _vote(taskId, 1, e, keccak256("root"));
            _record(string.concat("submitAggregate, vote ", vm.toString(e + 1), " of 2"), 90_000);
        }
    }

    /// The budgets of a round of 10, every transaction counted: the first round, then a later one.
    function test_gas_round_direct() public {
        uint256 taskId = _running(5, 10, 1);
        for (uint16 round = 1; round <= 2; ++round) {
            uint256 total = 0;
            for (uint256 i = 0; i < 10; ++i) {
                _submit(taskId, round, i);
                total += vm.lastCallGas().gasTotalUsed;
                if (i == 9) _record("submitUpdate, 10 participants", 33_000);
            }
            uint256 evaluation = _evaluate(taskId, round, 10);
            _le(evaluation, 130_000, "submitScores + submitAggregate");
            _le(total + evaluation, 450_000, "round of 10, direct");
        }
    }

    function test_gas_round_relayed() public {
        uint256 taskId = _running(5, 10, 1);
        for (uint16 round = 1; round <= 2; ++round) {
            (bytes memory updates, bytes memory signatures) = _batch(taskId, round, 0, 10);
            flc.submitUpdatesBySig(taskId, round, updates, signatures);
            uint256 total = _record("submitUpdatesBySig of 10", 110_000);
            _le(total + _evaluate(taskId, round, 10), 235_000, "round of 10, relayed");
        }
    }

    function _evaluate(uint256 taskId, uint16 round, uint256 n) private returns (uint256 total) {
        string memory which = round == 1 ? ", first round of 10" : ", later round of 10";
        _score(taskId, round, 0);
        total = _record(string.concat("submitScores", which), 60_000);
        bytes32 root = Merkle.root(_leaves(taskId, n, uint256(POOL) / 5 * round));
        _vote(taskId, round, 0, root);
        total += _record(string.concat("submitAggregate", which), 90_000);
    }

    function test_gas_claim() public {
        uint256 taskId = _running(5, 10, 1);
        for (uint16 round = 1; round <= 2; ++round) {
            uint256 cumulative = uint256(POOL) / 5 * round;
            _round(taskId, round, 10, 1, cumulative);
            bytes32[] memory leaves = _leaves(taskId, 10, cumulative);
            flc.claim(taskId, _participant(3), uint96(cumulative / 10), Merkle.proof(leaves, 3));
            _record(round == 1 ? "claim, first" : "claim, repeated", 60_000);
        }
    }
}
