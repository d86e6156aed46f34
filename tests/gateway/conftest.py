"""The usual gateway of a test. Every test of this room runs on both event loops that the process may have."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop
from tests.gateway.harness import FrontDoor, front_door


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    async with front_door() as made:
        yield made
