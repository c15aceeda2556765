"""Node with Keen's JavaScript clients, for the tests of these."""

import shutil

import pytest

from tests.node import Node, installed


@pytest.fixture(scope="session")
def node(pytestconfig: pytest.Config) -> Node:
    """Node with the clients; skips where there is no node."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    assert pytestconfig.cache is not None
    return installed(program, pytestconfig.cache.mkdir("keen-javascript"))
