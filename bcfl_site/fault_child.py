"""One simulation in a process of its own: `python -m bcfl_site.fault_child SEED STEPS`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from bcfl_site.embedded.anvil import Anvil  # noqa: E402
from bcfl_site.fault_simulation import Simulation  # noqa: E402
from chain.models import Account, AccountKind  # noqa: E402
from chain.network import network_current, network_settings  # noqa: E402

if __name__ == "__main__":
    seed, steps = map(int, sys.argv[1:])
    call_command("migrate", verbosity=0)
    call_command("deploy_contracts", stdout=sys.stderr)
    port = int(network_settings()["rpc_url"].rsplit(":", 1)[1])
    anvil = Anvil(port=port, log_path=Path("/dev/null"))  # speaks to the running one
    deployer = Account.objects.get(kind=AccountKind.DEPLOYER)
    outcome = Simulation(anvil, network_current(), deployer, seed).run(steps)
    sys.stdout.write(json.dumps(vars(outcome)) + "\n")
