"""Underway.  Variant: concurrency[:handlers[:queues[:processes]]] (default 500:async:1:1).

handlers: async and sync do nothing; nap waits 5 ms; job is async too, and the producers share one App and enqueue its job.
More than one queue: bench, bench-1, bench-2 ...  More than one process: copies of the first, which alone is counted.
"""

import asyncio
import ctypes
import logging
import os
import signal
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
PROCESSES = int(parts[3]) if len(parts) > 3 else 1
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


class JobProducer:
    app = underway.App(DSN)

    @app.job(name="noop", queue="bench")
    async def noop(p: dict) -> None:
        pass

    async def one(self, p):
        await self.noop.enqueue_async(p)

    async def close(self):
        await self.app.close_async()


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
        return JobProducer() if HANDLERS == "job" else await Producer().open()

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

        handler = {"async": noop, "job": noop, "nap": nap, "sync": sync}[HANDLERS]
        app.job(name="noop", queue="bench")(handler)
        queues = ["bench", *(f"bench-{number}" for number in range(1, QUEUES))]
        worker = app.worker(concurrency=CONCURRENCY, queues=queues)
        running = asyncio.create_task(worker.run())
        await stop.wait()
        worker.stop()
        await running
        await app.close_async()


def fork():
    """Become one of several processes; all but the first write nothing, and end with the first."""
    first = os.getpid()
    for _ in range(PROCESSES - 1):
        if os.fork() == 0:
            PR_SET_PDEATHSIG = 1
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != first:
                os._exit(1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            return


if sys.argv[1] == "work":
    fork()
main(Underway)
