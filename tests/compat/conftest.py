"""The stack that these tests share, and node with Keen's JavaScript clients."""

import shutil

import pytest

from tests.node import Node, installed
from tests.stack import stack

__all__ = ["node", "stack"]


@pytest.fixture(scope="session")
def node(pytestconfig: pytest.Config) -> Node:
    """Node with the clients; skips where there is no node."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    assert pytestconfig.cache is not None
    return installed(program, pytestconfig.cache.mkdir("keen-javascript"))
