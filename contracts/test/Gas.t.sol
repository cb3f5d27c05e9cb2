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
