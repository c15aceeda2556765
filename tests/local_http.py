"""HTTP for tests that ask again and again: each request on a connection of its own, as with `httpx.get`, which makes a TLS
context for each, too; that takes the processor longer than all the rest."""

import httpx

HTTP = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
