"""Live updates: one connection listens for all viewers, and only while there are viewers."""

import asyncio
import time
from typing import Any

import psycopg

from underway_pg.dashboard.live import _INTERVAL, Ticker

LISTENERS = """select count(*) from pg_stat_activity
    where application_name = 'underway dashboard events' and state = 'idle' and query = 'listen underway_event'"""


async def until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_one_connection_listens_for_all_viewers_and_is_closed_after_the_last(database: str) -> None:
    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(database, autocommit=True)
        async with connection:

            async def listeners() -> int:
                row = await (await connection.execute(LISTENERS)).fetchone()
                return int(row[0]) if row else 0

            ticker = Ticker(database)
            ticks = [0, 0]

            async def view(number: int) -> None:
                async for _ in ticker.ticks():
                    ticks[number] += 1

            viewers = [asyncio.create_task(view(number)) for number in (0, 1)]
            await until(listeners)
            started_at = time.monotonic()
            await connection.execute("notify underway_event")

            async def both_have_ticked() -> bool:
                return min(ticks) > 0

            await until(both_have_ticked)
            assert time.monotonic() - started_at < _INTERVAL - 1
            assert await listeners() == 1
            for viewer in viewers:
                viewer.cancel()
            await asyncio.gather(*viewers, return_exceptions=True)

            async def nobody_listens() -> bool:
                return await listeners() == 0

            await until(nobody_listens)

    asyncio.run(main())


def test_ticks_go_on_without_a_database_and_end_when_the_dashboard_closes() -> None:
    async def main() -> None:
        ticker = Ticker("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
        ticks = 0
        async for _ in ticker.ticks():
            ticks += 1
            ticker.close()
        assert ticks == 1

    asyncio.run(asyncio.wait_for(main(), _INTERVAL + 10))
