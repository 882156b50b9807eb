"""A move that is interrupted at any step loses no task, runs none twice, and goes on with the same command."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.py.killed_move import run_move, start_move
from tests.py.move_support import SOURCE, TARGET, Pair, pair
from tests.py.support import Session, wait_until
from tests.servers import SETTINGS, Server
from underway_pg import schema
from underway_pg.cli import main
from underway_pg.embedded import EmbeddedPostgres

__all__ = ["pair"]

# Two tasks have unique keys, one a concurrency key, one is not due, and one has failed.
ENQUEUE = """
    select underway.enqueue('q', to_jsonb(n),
        unique_key => case when n in (2, 7) then format('%%s of %%s', n, %s::integer) end,
        concurrency_key => case when n = 3 then 'acme' end,
        run_at => case when n = 4 then '2060-01-01'::timestamptz end)
    from generate_series(1, 10) n"""


def test_a_move_may_be_killed_before_any_statement_and_goes_on(pair: Pair) -> None:
    pair.source.create_queue("q")
    killed, states = 0, set()
    while True:
        tasks = set(pair.source.column(ENQUEUE, killed))
        pair.source.run("update underway.task set errors = '[{}]', attempt = 1 where input = '5'")
        code = run_move(pair.arguments("--yes"), batch=5, kill_at=killed + 1)
        there, here, way = *pair.runnable(), pair.on_the_way()
        assert there | here | way == tasks, killed
        assert len(there) + len(here) + len(way) == len(tasks), killed
        states.add((len(there), len(way), len(here)))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
        assert main(["move", *pair.arguments("--yes")]) == 0
        assert pair.runnable() == (set(), tasks)
        pair.target.run("delete from underway.task")
        pair.source.run("select underway.resume_queue('q')")
    # It was killed in each of the steps of both batches.
    assert killed > 30
    assert states == {(10, 0, 0), (5, 5, 0), (5, 0, 5), (0, 5, 5), (0, 0, 10)}
    assert pair.source.column("select task from underway.unique_reservation") == []


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the account of a server may enter."""
    with tempfile.TemporaryDirectory(prefix="underway-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


class Busy:
    """Workers of both databases, and a producer that does not learn of the move. Each task that runs is recorded."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.enqueued: list[int] = []
        self.stop_producing, self.stop_working = threading.Event(), threading.Event()
        self.threads = [
            threading.Thread(target=self.produce),
            *(threading.Thread(target=self.work, args=[dsn]) for dsn in (pair.source_dsn, pair.target_dsn) * 2),
        ]
        for side in (pair.source, pair.target):
            side.run("create table ran (task bigint)")

    def produce(self) -> None:
        with Session(self.pair.source_dsn) as session:
            self.enqueued += session.enqueue("q", 2000)
            while not self.stop_producing.wait(0.05):
                self.enqueued += session.enqueue("q", 2, "concurrency_key => 'acme'")
                self.enqueued += session.enqueue("q", 3)

    def work(self, dsn: str) -> None:
        with Session(dsn) as session:
            while not self.stop_working.is_set():
                claimed = session.claim("q", 3)
                for task, lease in claimed:
                    with session.connection.transaction():
                        session.run("insert into ran values (%s)", task)
                        session.run("select underway.complete(%s, %s)", task, lease)
                if not claimed:
                    self.stop_working.wait(0.01)

    def ran(self) -> list[int]:
        return [task for side in (self.pair.source, self.pair.target) for task in side.column("select task from ran")]


@contextlib.contextmanager
def busy(pair: Pair) -> Iterator[Busy]:
    found = Busy(pair)
    for thread in found.threads:
        thread.start()
    try:
        yield found
    finally:
        found.stop_producing.set()
        found.stop_working.set()
        for thread in found.threads:
            thread.join()


def test_each_task_runs_once_while_moves_are_killed_and_a_producer_goes_on(pair: Pair) -> None:
    for side in (pair.source, pair.target):
        side.create_queue("q", "max_running_per_key => 1")
    with busy(pair) as work:
        wait_until(lambda: work.enqueued, "there are tasks")
        codes = [run_move(pair.arguments("--yes"), batch=50, kill_at=number) for number in range(20, 80, 6)]
        assert codes.count(-signal.SIGKILL) >= 3
        work.stop_producing.set()
        work.threads[0].join()
        assert run_move(pair.arguments("--yes"), batch=50) == 0
        wait_until(lambda: len(work.ran()) >= len(work.enqueued), "all tasks have run", seconds=60)
    assert sorted(work.ran()) == sorted(work.enqueued)
    assert min(work.enqueued) >> 44 == SOURCE
    assert pair.runnable() == (set(), set())
    assert pair.target.value("select count(*) > 0 from ran")
    assert pair.source.value("select count(*) > 0 from ran")


@pytest.mark.parametrize("dies", ["source", "target"])
def test_the_server_of_one_side_may_die(server: Server, dies: str, place: Path) -> None:
    settings = {**SETTINGS, "fsync": "on"}  # what is committed survives
    mortal = EmbeddedPostgres(data_directory=place / "data", settings=settings)
    with server.database() as other, mortal:

        def dsns() -> tuple[str, str]:
            return (mortal.dsn, other) if dies == "source" else (other, mortal.dsn)

        for dsn, shard in zip(dsns(), (SOURCE, TARGET), strict=True):
            schema.migrate(dsn, shard=shard)
        with contextlib.closing(Pair(*dsns())) as pair:
            pair.source.create_queue("q")
            tasks = set(pair.source.enqueue("q", 2000))
            process = start_move(pair.arguments("--yes"), batch=20)
            wait_until(lambda: len(pair.runnable()[1]) > 200, "it moves")
            os.kill(int((place / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
            process.join()
        assert process.exitcode == 1
        mortal.stop()
        mortal.start()  # it has another address now
        with contextlib.closing(Pair(*dsns())) as pair:
            there, here, way = *pair.runnable(), pair.on_the_way()
            assert there | here | way == tasks
            assert len(there) + len(here) + len(way) == len(tasks)
            assert there
            assert run_move(pair.arguments("--yes"), batch=1000) == 0
            assert pair.runnable() == (set(), tasks)
