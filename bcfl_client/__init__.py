"""Python client of BCFL Console's API. No Django, no web3: httpx alone."""

from bcfl_client.errors import ApiProblem, ClientError

__all__ = ["ApiProblem", "ClientError"]
