"""The services that run when no address of an outside one is given: Redis and an Ethereum chain."""
