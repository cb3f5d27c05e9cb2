"""``python -m bcfl_site.embedded.serve redis|chain``: become an embedded service.

This process turns into the service itself (exec), so that a supervisor's signals reach it.
"""

import os
import sys

from bcfl_site.embedded.errors import EmbeddedError
from bcfl_site.embedded.places import Places


def main() -> None:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    places = Places.from_environment(os.environ)
    services = {"redis": places.redis, "chain": places.chain}
    if name not in services:
        sys.exit(f"usage: python -m bcfl_site.embedded.serve {'|'.join(services)}")
    try:
        services[name]().become()
    except EmbeddedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
