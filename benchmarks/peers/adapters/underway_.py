"""Underway.  Variant: concurrency[:handlers[:queues]] (default 500:async:1).

handlers: async and sync do nothing; nap waits 5 ms.  More than one queue: bench, bench-1, bench-2 ...
"""

import asyncio
import logging
import os
import sys
from importlib.metadata import version

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from benchlib import DSN, VARIANT, System, main

import underway_pg as underway
from underway_pg import schema

parts = (VARIANT or "500").split(":")
CONCURRENCY = int(parts[0])
HANDLERS = parts[1] if len(parts) > 1 else "async"
QUEUES = int(parts[2]) if len(parts) > 2 else 1
logging.getLogger("underway_pg").setLevel(logging.ERROR)


class Producer:
    async def open(self):
        self.client = underway.AsyncClient(DSN, pool_size=1)
        await self.client.__aenter__()
        return self

    async def one(self, p):
        await self.client.enqueue("bench", {"p": p}, job="noop")

    async def many(self, ps):
        await self.client.enqueue_many("bench", [{"p": p} for p in ps], job="noop")

    async def close(self):
        await self.client.close()


class Underway(System):
    name = "underway"
    pending_sql = "select count(*) from underway.task"
    settings = {
        "concurrency": CONCURRENCY,
        "handlers": HANDLERS,
        "queues": QUEUES,
        "history": "kept",
        "bulk": "enqueue_many x1000",
    }

    def version(self):
        return version("underway-pg")

    async def setup(self):
        schema.migrate(DSN)
        async with underway.AsyncClient(DSN) as client:
            await client.create_queue(underway.Queue(name="bench"))

    async def producer(self):
        return await Producer().open()

    async def work(self, counter, stop):
        app = underway.App(DSN)
        hit = counter.hit

        async def noop(p: dict) -> None:
            hit(p)

        async def nap(p: dict) -> None:
            hit(p)
            await asyncio.sleep(0.005)

        def sync(p: dict) -> None:
            hit(p)

        handler = {"async": noop, "nap": nap, "sync": sync}[HANDLERS]
        app.job(name="noop", queue="bench")(handler)
        for number in range(1, QUEUES):
            app.job(name=f"noop-{number}", queue=f"bench-{number}")(handler)

        worker = app.worker(concurrency=CONCURRENCY)
        running = asyncio.create_task(worker.run())
        await stop.wait()
        worker.stop()
        await running
        await app.close_async()


main(Underway)
