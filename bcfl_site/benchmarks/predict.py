"""Predictions over HTTP on a whole console: warm ones beside the first."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from bcfl_site.benchmarks import columns

if TYPE_CHECKING:
    from bcfl_site.embedded.stack import Stack

HELP = "Milliseconds of a prediction over HTTP with the model warm, beside the first, cold one."
TASK = ("run_task", "--participants", "2", "--rounds", "1", "--wait", "--json")
# One account for all of them: its quota must not be what is measured.
SIGN_IN = """
from sessions_app.models import User
from sessions_app.services.tokens import token_create
user = User.objects.create_user("benchmark", role="admin")
print("token", token_create(user=user, name="benchmark", scope="write")[1])
"""
QUOTA = {"API_RATE": "100000000"}
TIMEOUT = 120.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--clients", type=int, default=4, help="at once, for the requests/s")


def run(options: dict[str, Any]) -> dict[str, Any]:
    """{"cold_ms": the first request of all, "load_ms": the first of another version with
    TensorFlow there, "warm": {"p50", "p95", "p99"} and "worker": the same as the worker counts
    it, both in ms and one request at a time, "requests_per_second": {clients: figure}}"""
    from bcfl_site.embedded.stack import Stack

    with Stack(web=True, settings={"TRAINING_PROCESSES": "1", **QUOTA}) as stack:
        stack.manage("seed_demo")
        task = json.loads(stack.manage(*TASK, seconds=300))["task"]["id"]
        asked = _Asked(stack, task)
        cold, _ = asked.once(version=1)
        load, _ = asked.once(version=0)
        for _ in range(10):
            asked.once(version=1)
        samples = [asked.once(version=1) for _ in range(options["requests"])]
        rates = {
            clients: asked.rate(clients, options["requests"]) for clients in (1, options["clients"])
        }
    return {
        "requests": len(samples),
        "cold_ms": round(cold, 1),
        "load_ms": round(load, 1),
        "warm": _percentiles([ms for ms, _ in samples]),
        "worker": _percentiles([ms for _, ms in samples]),
        "requests_per_second": rates,
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }


def table(report: dict[str, Any]) -> str:
    rows = [
        [label, *(f"{report[name][p]:.1f}" for p in ("p50", "p95", "p99"))]
        for name, label in (("warm", "over HTTP"), ("worker", "of these in the worker"))
    ]
    rates = ", ".join(
        f"{rate:.0f} with {clients} at once"
        for clients, rate in report["requests_per_second"].items()
    )
    return (
        f"{report['requests']} predictions of one row, digits, MLP; load "
        f"{report['load_of_the_machine']}\n\n"
        + columns(["ms, warm", "p50", "p95", "p99"], rows)
        + f"\n\nfirst of all (loads TensorFlow): {report['cold_ms']:,.0f} ms"
        + f"\nfirst of another version: {report['load_ms']:,.0f} ms"
        + f"\nrequests/s: {rates}"
    )


class _Asked:
    """A model of a console, asked with a token."""

    def __init__(self, stack: Stack, task: int) -> None:
        words = stack.manage("shell", "-c", SIGN_IN).split()
        self._url = f"{stack.url}/api/v1/models/{task}/predict?version="
        self._headers = {
            "Authorization": f"Bearer {words[words.index('token') + 1]}",
            "Content-Type": "application/json",
        }
        self._body = json.dumps({"rows": [[0.25] * 64]}).encode()

    def once(self, *, version: int) -> tuple[float, float]:
        """Milliseconds over HTTP on a fresh connection, and those in the worker."""
        request = urllib.request.Request(  # noqa: S310 (our own console)
            f"{self._url}{version}", data=self._body, headers=self._headers, method="POST"
        )
        started = time.perf_counter()
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            told = json.loads(answer.read())
        return (time.perf_counter() - started) * 1e3, float(told["latency_ms"])

    def rate(self, clients: int, requests: int) -> float:
        """Requests a second with so many clients asking one after another."""
        each = max(1, requests // clients)

        def ask() -> None:
            for _ in range(each):
                self.once(version=1)

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return round(each * clients / (time.perf_counter() - started), 1)


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2)
        for share in (50, 95, 99)
    }
