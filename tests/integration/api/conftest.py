"""Fixtures of the API's tests that need no deployment of their own."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from headwater.control import ControlWriter
from headwater.settings import Settings
from tests.asking import Api, running_api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(module_settings: Settings) -> AsyncIterator[tuple[Api, ControlWriter]]:
    """An API for the tests of a module, which run in the module's loop, and what makes projects for it."""
    async with running_api(module_settings) as running:
        with ControlWriter(module_settings) as writer:
            yield running, writer


@pytest.fixture
def api(shared_api: tuple[Api, ControlWriter]) -> Api:
    """The API, with a project that only this test has."""
    running, writer = shared_api
    return replace(running, project=writer.create_project("test"))
