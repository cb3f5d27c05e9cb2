// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {FLCoordinator} from "../src/FLCoordinator.sol";
import {FLToken} from "../src/FLToken.sol";
import {Base} from "./lib/Base.sol";
import {HostileToken} from "./lib/HostileToken.sol";

/// @dev Tokens that keep a fee, return false, return nothing, block an account, or call back.
contract TokensTest is Base {
    HostileToken private hostile;

    function setUp() public override {
        vm.warp(1_700_000_000);
        hostile = new HostileToken();
        token = FLToken(address(hostile));
        flc = new FLCoordinator(IERC20(address(hostile)));
        token.transfer(OPERATOR, 1_000_000 ether);
        vm.prank(OPERATOR);
        token.approve(address(flc), type(uint256).max);
        token.approve(address(flc), type(uint256).max);
    }

    function test_a_fee_on_transfer_is_refused_wherever_tokens_come_in() public {
        uint256 id = _create(_params(2, 2, 1));
        TaskParams memory p = _params(2, 2, 1);
        hostile.set(HostileToken.Mode.Fee, address(0));
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(TransferMismatch.selector, POOL, POOL / 100 * 99));
        flc.createTask(p);
        vm.expectRevert(abi.encodeWithSelector(TransferMismatch.selector, STAKE, STAKE / 100 * 99));
        flc.join(id, CAP);
        vm.expectRevert(abi.encodeWithSelector(TransferMismatch.selector, 100, 99));
        flc.topUp(id, 100);
        _solvent();
    }

    function test_a_false_return_is_a_failure() public {
        uint256 id = _create(_params(2, 2, 1));
        flc.join(id, CAP);
        TaskParams memory p = _params(2, 2, 1);
        hostile.set(HostileToken.Mode.ReturnsFalse, address(0));
        bytes memory failed = abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(hostile));
        vm.prank(OPERATOR);
        vm.expectRevert(failed);
        flc.createTask(p);
        vm.expectRevert(failed);
        flc.leave(id);
        _is(flc.member(id, address(this)).status, MemberStatus.Active);
        _solvent();
    }

    function test_no_return_value_is_fine() public {
        hostile.set(HostileToken.Mode.ReturnsNothing, address(0));
        uint256 id = _create(_params(1, 1, 1));
        flc.join(id, CAP);
        vm.prank(OPERATOR);
        flc.cancel(id);
        flc.returnStake(id, address(this));
        _eq(flc.liabilities(id, id), 0, "nothing left");
        _solvent();
    }

    /// An operator that cannot receive must not keep the stakes of the others in.
    function test_a_blocked_operator_stops_nobody() public {
        uint256 id = _create(_params(2, 1, 1));
        flc.join(id, CAP);
        _start(id);
        vm.warp(block.timestamp + STEP + 1);
        hostile.set(HostileToken.Mode.Blocks, OPERATOR);
        flc.expire(id);
        _is(_phase(id), TaskPhase.Cancelled);
        _eq(flc.task(id).pool, POOL, "the pool waits");
        flc.returnStake(id, address(this));
        vm.expectRevert();
        flc.returnPool(id);
        hostile.set(HostileToken.Mode.Honest, address(0));
        vm.expectEmit(address(flc));
        emit PoolReturned(id, OPERATOR, POOL);
        flc.returnPool(id);
        _eq(flc.liabilities(id, id), 0, "nothing left");
        _solvent();
    }

    function _attack(bytes memory payload) private {
        hostile.arm(address(flc), payload);
    }

    function _repelled() private view {
        // Refused by the guard itself, whatever else would have stopped it.
        require(
            hostile.refusal() == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector, "not refused by the guard"
        );
        _solvent();
    }

    function test_reentering_while_money_moves_is_refused() public {
        uint256 id = _create(_params(2, 2, 1));
        uint256 other = _create(_params(2, 2, 1));
        flc.join(other, CAP);
        bytes memory leave = abi.encodeCall(flc.leave, (other));
        bytes memory join = abi.encodeCall(flc.join, (id, CAP));

        TaskParams memory p = _params(2, 2, 1);
        _attack(abi.encodeCall(flc.createTask, (p)));
        flc.join(id, CAP);
        _repelled();
        _attack(abi.encodeCall(flc.topUp, (other, 1)));
        flc.leave(id);
        _repelled();
        _attack(join);
        _create(p);
        _repelled();
        _attack(leave);
        flc.topUp(id, 5);
        _repelled();
        vm.prank(OPERATOR);
        flc.cancel(other);
        _repelled();
        _attack(abi.encodeCall(flc.returnStake, (other, address(this))));
        flc.returnStake(other, address(this));
        _repelled();
        _eq(flc.task(other).pool, 0, "returned");
    }

    function test_reentering_a_claim_pays_once() public {
        uint256 id = _create(_params(1, 1, 1));
        flc.join(id, CAP);
        _start(id);
        flc.submitUpdate(id, 1, keccak256("u"), 1);
        _score(id, 1, 0);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(id, address(this), POOL))));
        _vote(id, 1, 0, leaf);
        _attack(abi.encodeCall(flc.claim, (id, address(this), POOL, new bytes32[](0))));
        flc.claim(id, address(this), POOL, new bytes32[](0));
        _repelled();
        _attack(abi.encodeCall(flc.returnStake, (id, address(this))));
        flc.returnStake(id, address(this));
        _repelled();
        _eq(flc.liabilities(id, id), 0, "nothing left");
    }

    function test_reentering_a_slash_or_an_expiry_is_refused() public {
        uint256 id = _create(_params(2, 2, 1));
        flc.join(id, CAP);
        _start(id);
        _attack(abi.encodeCall(flc.expire, (id)));
        vm.prank(_evaluator(0));
        flc.slash(id, address(this), keccak256("evidence"));
        _repelled();
        _attack(abi.encodeCall(flc.returnPool, (id)));
        flc.expire(id);
        _repelled();
        _is(_phase(id), TaskPhase.Cancelled);
    }
}
