// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base} from "./lib/Base.sol";
import {Merkle} from "./lib/Merkle.sol";

/// @dev Cumulative Merkle claims: everybody paid once, nobody twice, nothing beyond what was credited.
contract ClaimsTest is Base {
    function test_one_proof_pays_all_rounds_and_anyone_may_send_it() public {
        uint256 id = _running(3, 3, 1);
        _round(id, 1, 3, 1, POOL / 3);
        _round(id, 2, 3, 1, POOL / 3 * 2);
        uint96 earned = POOL / 3 * 2 / 3;
        vm.expectEmit(address(flc));
        emit RewardClaimed(id, _participant(1), earned, earned);
        vm.prank(address(0x5eed));
        flc.claim(id, _participant(1), earned, Merkle.proof(_leaves(id, 3, POOL / 3 * 2), 1));
        _eq(token.balanceOf(_participant(1)), 10_000 ether - STAKE + earned, "only the earner is paid");
        _eq(token.balanceOf(address(0x5eed)), 0, "not the sender");
        _eq(flc.member(id, _participant(1)).claimed, earned, "claimed");
        _solvent();
    }

    function test_nobody_is_paid_twice() public {
        uint256 id = _running(2, 2, 1);
        _round(id, 1, 2, 1, POOL / 2);
        _claim(id, 2, POOL / 2, 0);
        bytes32[] memory proof = Merkle.proof(_leaves(id, 2, POOL / 2), 0);
        vm.expectRevert(abi.encodeWithSelector(NothingToClaim.selector, id, _participant(0), POOL / 4));
        flc.claim(id, _participant(0), POOL / 4, proof);
        _round(id, 2, 2, 1, POOL);
        _claim(id, 2, POOL, 0);
        _eq(token.balanceOf(_participant(0)), 10_000 ether - STAKE + POOL / 2, "both rounds, once");
        proof = Merkle.proof(_leaves(id, 2, POOL), 0);
        vm.expectRevert(abi.encodeWithSelector(NothingToClaim.selector, id, _participant(0), POOL / 2));
        flc.claim(id, _participant(0), POOL / 2, proof);
        _solvent();
    }

    function test_one_leaf_is_its_own_root() public {
        uint256 id = _running(1, 1, 1);
        _round(id, 1, 1, 1, POOL);
        flc.claim(id, _participant(0), POOL, new bytes32[](0));
        _eq(flc.liabilities(id, id), STAKE, "only the stake is left");
    }

    function test_a_claim_is_bounded_by_what_was_credited_to_the_task() public {
        uint256 rich = _running(2, 1, 1);
        uint256 id = _running(2, 1, 1);
        _submit(id, 1, 0);
        _score(id, 1, 0);
        // The evaluator promises more than the round paid: other tasks' money is out of reach.
        _vote(id, 1, 0, Merkle.leaf(id, _participant(0), POOL / 2 + 1));
        vm.expectRevert(abi.encodeWithSelector(AllocationExceeded.selector, id, POOL / 2 + 1, POOL / 2));
        flc.claim(id, _participant(0), POOL / 2 + 1, new bytes32[](0));
        _eq(flc.liabilities(rich, rich), POOL + STAKE, "the other task is whole");
    }

    function test_only_members_can_earn() public {
        uint256 id = _running(1, 1, 1);
        _submit(id, 1, 0);
        _score(id, 1, 0);
        _vote(id, 1, 0, Merkle.leaf(id, _evaluator(0), POOL));
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, id, _evaluator(0)));
        flc.claim(id, _evaluator(0), POOL, new bytes32[](0));
    }

    function test_nothing_is_claimable_before_the_first_round_is_finalised() public {
        uint256 id = _running(2, 1, 1);
        bytes32 leaf = Merkle.leaf(id, _participant(0), 0);
        require(leaf != bytes32(0), "leaf");
        vm.expectRevert(abi.encodeWithSelector(NothingToClaim.selector, id, _participant(0), 0));
        flc.claim(id, _participant(0), 0, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(InvalidProof.selector, id, _participant(0), 1));
        flc.claim(id, _participant(0), 1, new bytes32[](0));
    }

    function test_proofs_are_bound_to_task_and_participant() public {
        uint256 id = _running(1, 2, 1);
        uint256 other = _running(1, 2, 1);
        _round(id, 1, 2, 1, POOL);
        _round(other, 1, 2, 1, POOL);
        bytes32[] memory proof = Merkle.proof(_leaves(id, 2, POOL), 0);
        vm.expectRevert(abi.encodeWithSelector(InvalidProof.selector, other, _participant(0), POOL / 2));
        flc.claim(other, _participant(0), POOL / 2, proof);
        vm.expectRevert(abi.encodeWithSelector(InvalidProof.selector, id, _participant(1), POOL / 2));
        flc.claim(id, _participant(1), POOL / 2, proof);
    }

    function testFuzz_any_flipped_bit_spoils_a_proof(uint256 who, uint256 node, uint256 bit) public {
        uint256 n = 13;
        uint256 id = _running(1, uint16(n), 1);
        _round(id, 1, n, 1, POOL);
        who %= n;
        bytes32[] memory proof = Merkle.proof(_leaves(id, n, POOL), who);
        proof[node % proof.length] ^= bytes32(1 << (bit % 256));
        vm.expectRevert(abi.encodeWithSelector(InvalidProof.selector, id, _participant(who), POOL / uint96(n)));
        flc.claim(id, _participant(who), POOL / uint96(n), proof);
    }

    function testFuzz_any_other_amount_is_refused(uint96 amount) public {
        uint256 id = _running(1, 4, 1);
        _round(id, 1, 4, 1, POOL);
        if (amount == 0 || amount == POOL / 4) return;
        bytes32[] memory proof = Merkle.proof(_leaves(id, 4, POOL), 2);
        vm.expectRevert(abi.encodeWithSelector(InvalidProof.selector, id, _participant(2), amount));
        flc.claim(id, _participant(2), amount, proof);
    }

    /// An inner node is no leaf: leaves are hashed twice, nodes once.
    function test_a_shorter_proof_of_an_inner_node_is_refused() public {
        uint256 id = _running(1, 4, 1);
        _round(id, 1, 4, 1, POOL);
        bytes32[] memory proof = Merkle.proof(_leaves(id, 4, POOL), 0);
        bytes32[] memory shorter = new bytes32[](1);
        shorter[0] = proof[1];
        vm.expectRevert(abi.encodeWithSelector(InvalidProof.selector, id, _participant(0), POOL / 4));
        flc.claim(id, _participant(0), POOL / 4, shorter);
    }

    function testFuzz_uneven_shares_are_paid_to_the_last_wei(uint256 seed, uint8 size) public {
        uint256 n = 1 + size % 9;
        uint256 id = _create(_params(1, uint16(n), 1, 1_000_003));
        for (uint256 i = 0; i < n; ++i) _join(id, i);
        _start(id);
        _submitAll(id, 1, n);
        _score(id, 1, 0);
        uint256 left = 1_000_003;
        bytes32[] memory leaves = new bytes32[](n);
        uint96[] memory shares = new uint96[](n);
        for (uint256 i = 0; i < n; ++i) {
            shares[i] = uint96(i == n - 1 ? left : uint256(keccak256(abi.encode(seed, i))) % (left + 1));
            left -= shares[i];
            leaves[i] = Merkle.leaf(id, _participant(i), shares[i]);
        }
        _vote(id, 1, 0, Merkle.root(leaves));
        for (uint256 i = 0; i < n; ++i) {
            if (shares[i] != 0) flc.claim(id, _participant(i), shares[i], Merkle.proof(leaves, i));
            flc.returnStake(id, _participant(i));
        }
        _eq(flc.liabilities(id, id), 0, "nothing left");
        _solvent();
    }

    function test_sweep_after_a_year_takes_only_what_nobody_claimed() public {
        uint256 id = _running(1, 2, 1);
        _round(id, 1, 2, 1, POOL);
        _claim(id, 2, POOL, 0);
        uint256 until = block.timestamp + 365 days;
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(DeadlineNotReached.selector, id, until, until));
        flc.sweep(id);
        vm.warp(until + 1);
        uint256 before = token.balanceOf(OPERATOR);
        vm.expectEmit(address(flc));
        emit RewardsSwept(id, OPERATOR, POOL / 2);
        flc.sweep(id);
        _eq(token.balanceOf(OPERATOR) - before, POOL / 2, "swept");
        vm.expectRevert(abi.encodeWithSelector(NothingToReturn.selector, id));
        flc.sweep(id);
        bytes32[] memory proof = Merkle.proof(_leaves(id, 2, POOL), 1);
        vm.expectRevert(abi.encodeWithSelector(AllocationExceeded.selector, id, POOL / 2, 0));
        flc.claim(id, _participant(1), POOL / 2, proof);
        flc.returnStake(id, _participant(1)); // stakes have no period
        _solvent();
    }

    function test_sweep_needs_an_ended_task() public {
        uint256 id = _running(2, 1, 1);
        vm.expectRevert(
            abi.encodeWithSelector(WrongTaskPhase.selector, id, TaskPhase.Completed, TaskPhase.Running)
        );
        flc.sweep(id);
    }
}
