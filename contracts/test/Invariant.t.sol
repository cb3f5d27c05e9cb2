// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {FLCoordinator} from "../src/FLCoordinator.sol";
import {FLToken} from "../src/FLToken.sol";
import {Base} from "./lib/Base.sol";
import {Handler} from "./lib/Handler.sol";

/// @dev What holds after every step of every run (foundry.toml: 256 runs of 64 steps).
contract InvariantTest is Base {
    Handler private handler;
    uint256 private supply;

    function setUp() public override {
        vm.warp(1_700_000_000);
        token = new FLToken(1_000_000 ether);
        flc = new FLCoordinator(IERC20(address(token)));
        handler = new Handler(token, flc);
        supply = token.totalSupply();
        for (uint256 i = 0; i < handler.ACTORS(); ++i) token.transfer(handler.actors(i), 10_000 ether);
        for (uint256 i = 0; i < handler.OPERATORS(); ++i) token.transfer(handler.operator(i), 100_000 ether);
        handler.createTask(uint256(keccak256("first")));
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev Read by forge: which contract to call, and what never to call.
    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    function excludeSelectors() external view returns (FuzzSelector[] memory list) {
        list = new FuzzSelector[](1);
        list[0].addr = address(handler);
        list[0].selectors = new bytes4[](1);
        list[0].selectors[0] = Handler.drain.selector;
    }

    /// One campaign for all of them: what costs time is the walking, not the looking.
    function invariant_money_and_membership() external view {
        _solvent(); // balance = open escrow + stakes + unclaimed rewards
        _books(handler.last()); // the others' books are looked at when the run ends
    }

    function _books(uint256 id) private view {
        _pool_is_spent_once(id);
        _stakes_and_members_add_up(id);
    }

    function _no_token_appears_or_vanishes() private view {
        uint256 sum = token.balanceOf(address(flc)) + token.balanceOf(address(this)) + handler.burnt();
        for (uint256 i = 0; i < handler.ACTORS(); ++i) sum += token.balanceOf(handler.actors(i));
        for (uint256 i = 0; i < handler.OPERATORS(); ++i) sum += token.balanceOf(handler.operator(i));
        _eq(sum, supply, "supply");
    }

    function _pool_is_spent_once(uint256 id) private view {
        (uint256 pool, uint256 unclaimed,) = flc.escrow(id);
        uint256 paid = 0;
        uint256 earned = 0;
        for (uint256 i = 0; i < handler.ACTORS(); ++i) {
            uint256 paidToOne = handler.paid(id, i);
            uint256 earnedByOne = handler.earned(id, i);
            _eq(flc.member(id, handler.actors(i)).claimed, paidToOne, "claimed");
            _le(paidToOne, earnedByOne, "paid");
            (paid, earned) = (paid + paidToOne, earned + earnedByOne);
        }
        _eq(pool + unclaimed + paid + handler.refunded(id), handler.deposited(id), "what came in");
        if (!handler.swept(id)) _eq(unclaimed, earned - paid, "unclaimed");
    }

    function _stakes_and_members_add_up(uint256 id) private view {
        (,, uint256 stakes) = flc.escrow(id);
        uint256 active = 0;
        for (uint256 i = 0; i < handler.ACTORS(); ++i) {
            MemberView memory m = flc.member(id, handler.actors(i));
            stakes -= m.stake;
            if (m.status == MemberStatus.Active) ++active;
        }
        _eq(stakes, 0, "stakes of nobody");
        TaskView memory t = flc.task(id);
        // returnStake ends a membership without touching the count of an ended task.
        if (t.phase == TaskPhase.Open || t.phase == TaskPhase.Running) _eq(t.active, active, "active");
        _le(t.active, t.members, "active");
        _le(t.members, t.maxParticipants, "indices");
        RoundView memory r = flc.roundState(id);
        if (r.phase == RoundPhase.Updates) _eq(uint256(r.updates) + r.awaited, t.active, "updates and awaited");
    }

    /// After each run: nothing is stuck, whatever happened.
    function afterInvariant() external {
        for (uint256 id = 1; id <= flc.taskCount(); ++id) _books(id);
        handler.drain();
        _no_token_appears_or_vanishes();
        for (uint256 id = 1; id <= flc.taskCount(); ++id) _eq(flc.liabilities(id, id), 0, "stuck");
        _eq(token.balanceOf(address(flc)), 0, "stuck in the coordinator");
    }

    /// The handler's calls do go through: one long seeded run, every kind of act at least once.
    function test_the_handler_reaches_everything() external {
        bytes4[17] memory acts = [
            Handler.createTask.selector,
            Handler.topUp.selector,
            Handler.start.selector,
            Handler.cancel.selector,
            Handler.join.selector,
            Handler.leave.selector,
            Handler.submit.selector,
            Handler.relay.selector,
            Handler.claim.selector,
            Handler.returnStake.selector,
            Handler.score.selector,
            Handler.vote.selector,
            Handler.slash.selector,
            Handler.expire.selector,
            Handler.wait_.selector,
            Handler.advance.selector,
            Handler.sweep.selector
        ];
        for (uint256 world = 0; world < 12; ++world) {
            if (world != 0) {
                // A new world with the same books would mix tasks up: count on in a fresh handler.
                flc = new FLCoordinator(IERC20(address(token)));
                Handler next = new Handler(token, flc);
                _carry(handler, next, acts);
                handler = next;
                handler.createTask(world);
            }
            for (uint256 k = 0; k < 400; ++k) {
                uint256 seed = uint256(keccak256(abi.encode(world, k)));
                bytes4 act = seed % 3 == 0 ? Handler.advance.selector : acts[(seed >> 8) % 17];
                if (act == Handler.wait_.selector && seed % 4 != 0) continue;
                (bool ok,) = address(handler).call(
                    abi.encodePacked(act, abi.encode(seed >> 32, seed >> 16, (seed >> 64) % 1000))
                );
                require(ok || act == Handler.start.selector, "the handler itself never reverts");
            }
            _solvent();
        }
        for (uint256 i = 0; i < acts.length; ++i) {
            require(total[acts[i]] + handler.succeeded(acts[i]) != 0, string.concat("never: ", vm.toString(i)));
        }
    }

    mapping(bytes4 => uint256) private total;

    function _carry(Handler from, Handler to, bytes4[17] memory acts) private {
        for (uint256 i = 0; i < acts.length; ++i) total[acts[i]] += from.succeeded(acts[i]);
        for (uint256 i = 0; i < from.ACTORS(); ++i) require(from.actors(i) == to.actors(i), "same actors");
    }
}
