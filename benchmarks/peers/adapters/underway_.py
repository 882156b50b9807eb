"""Underway.  Variant: concurrency (default 500)[:sync for plain handlers in threads]."""

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
SYNC = parts[1:] == ["sync"]
logging.getLogger("underway_pg").setLevel(logging.ERROR)


class Producer:
    async def open(self):
        self.client = underway.AsyncClient(DSN, max_connections=1)
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
    settings = {"concurrency": CONCURRENCY, "handlers": "threads" if SYNC else "async",
                "history": "kept", "bulk": "enqueue_many x1000", "loop": "uvloop"}

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

        if SYNC:

            @app.job(queue="bench")
            def noop(p: dict) -> None:
                hit(p)
        else:

            @app.job(queue="bench")
            async def noop(p: dict) -> None:
                hit(p)

        worker = app.worker(concurrency=CONCURRENCY)
        running = asyncio.create_task(worker.run())
        await stop.wait()
        worker.stop()
        await running
        await app.close_async()


main(Underway)
