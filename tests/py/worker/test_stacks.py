"""Where a handler hangs: the last line of the stack is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from underway_pg.worker.stacks import waiting_stack


async def sleeps() -> None:
    await asyncio.sleep(60)  # it hangs here


async def generates() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(60)  # it hangs here
    yield 2


async def plain() -> None:
    await sleeps()


async def through_a_generator() -> None:
    async for _ in generates():
        pass


async def gathered() -> None:
    await asyncio.gather(sleeps())


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        await group.create_task(sleeps())


@pytest.mark.parametrize("handler", [plain, through_a_generator, gathered, in_a_group], ids=lambda f: f.__name__)
def test_a_stack_does_not_end_before_the_line_where_the_handler_hangs(handler: Callable[[], Awaitable[None]]) -> None:
    async def main() -> str:
        coroutine = handler()
        task = asyncio.ensure_future(coroutine)
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            return _frames(coroutine)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    assert "it hangs here" in asyncio.run(main())


def _frames(coroutine: object) -> str:
    return waiting_stack(coroutine)
