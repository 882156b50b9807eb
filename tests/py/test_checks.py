"""Wrong settings are refused where they are given, with the value and what to give instead."""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg_pool
import pytest

from underway_pg import App, Context, Options, Queue, RetryPolicy, WorkerSettings
from underway_pg.errors import ConfigurationError


def job(**options: Any) -> Callable[[], object]:
    return lambda: App("postgresql://nowhere").job(name="work", **options)(lambda: None)


def app(**settings: Any) -> Callable[[], object]:
    return lambda: App("postgresql://nowhere", **settings)


def of(kind: type, **settings: Any) -> Callable[[], object]:
    return lambda: kind(**settings)


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (job(retry=3), r"retry is 3; give a RetryPolicy, such as RetryPolicy\(max_attempts=3\)"),
        (job(timeout="5s"), "timeout is '5s'; give seconds"),
        (job(timeout=-5), "timeout is -5; give seconds, .* none that is negative"),
        (job(timeout=timedelta(-1)), r"timeout is datetime.timedelta\(days=-1\); give seconds"),
        (job(timeout=float("nan")), "timeout is nan; give seconds"),
        (job(timeout=float("inf")), "timeout is inf; give seconds"),
        (job(delay="5m"), "delay is '5m'; give seconds"),
        (job(heartbeat=True), "heartbeat is True; give seconds"),
        (job(priority="high"), "priority is 'high'; give an integer from -100 to 100"),
        (job(priority=1.5), "priority is 1.5; give an integer"),
        (of(RetryPolicy, max_attempts=0), "max_attempts is 0; give an integer of at least 1"),
        (of(RetryPolicy, max_attempts="3"), "max_attempts is '3'; give an integer of at least 1"),
        (of(RetryPolicy, initial_interval="1s"), "initial_interval is '1s'; give seconds"),
        (of(RetryPolicy, factor="2"), "factor is '2'; give a number"),
        (of(Queue, name=5), "the name of a queue is 5; give a string"),
        (of(Queue, name="q", retry=3), "retry is 3; give a RetryPolicy"),
        (of(Queue, name="q", timeout="5s"), "timeout is '5s'; give seconds"),
        (of(Queue, name="q", max_running="3"), "max_running is '3'; give an integer of at least 0"),
        (app(queues=["email"]), r"one of queues is 'email'; give Queue\(name=...\)"),
        (app(queues="email"), r"one of queues is 'e'; give Queue\(name=...\)"),
        (app(queues=5), r"queues is 5; give a list of Queue\(name=...\)"),
        (app(pool_size=0), "pool_size is 0; give an integer of at least 1"),
        (app(pool_size=2.5), "pool_size is 2.5; give an integer of at least 1"),
        (app(timeout="5s"), "timeout is '5s'; give a number of at least 0"),
        (app(pool=5), "pool is 5; give a psycopg_pool.ConnectionPool"),
        (app(async_pool=5), "async_pool is 5; give a psycopg_pool.AsyncConnectionPool"),
        (app(middleware=[5]), "one of middleware is 5; give functions that take the Context"),
        (app(middleware=contextlib.nullcontext), "middleware is <class .*; give a list of functions"),
        (app(lifespan=5), "lifespan is 5; give a function that returns an async context manager"),
        (of(WorkerSettings, queues=["mi", "mi"]), r"queues is \['mi', 'mi'\]; give each name once"),
        (of(WorkerSettings, queues=b"a"), "one of queues is 97; give names of queues, as strings"),
        (of(WorkerSettings, queues={"a": "5"}), "concurrency of queue a is '5'; give an integer of at least 1"),
        (of(WorkerSettings, queues=5), "queues is 5; give a list of names of queues"),
        (of(WorkerSettings, concurrency="5"), "concurrency is '5'; give an integer"),
        (of(WorkerSettings, shutdown_timeout=None), "shutdown_timeout is None; give a number of seconds"),
        (of(WorkerSettings, drain=1), "drain is 1; give True or False"),
    ],
)
def test_a_wrong_setting_is_accepted_where_it_is_given(declare: Callable[[], object], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        declare()


def test_a_pool_of_the_other_kind_is_accepted() -> None:
    plain = psycopg_pool.ConnectionPool("", open=False)
    asynchronous = psycopg_pool.AsyncConnectionPool("", open=False)
    App(pool=plain, async_pool=asynchronous)
    App(pool=psycopg_pool.NullConnectionPool("", open=False))
    with pytest.raises(ConfigurationError, match=r"; give a psycopg_pool.ConnectionPool"):
        App(pool=asynchronous)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"; give a psycopg_pool.AsyncConnectionPool"):
        App(async_pool=plain)  # type: ignore[arg-type]


def test_right_settings_are_refused() -> None:
    def wrap(context: Context) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    App("postgresql://nowhere", queues=iter([Queue(name="q", timeout=0.5)]), middleware=[wrap], timeout=0)
    Options(delay=0, timeout=timedelta(seconds=1), retry=RetryPolicy(max_attempts=1, initial_interval=0, factor=2))
    WorkerSettings(queues=(name for name in "ab"), poll_interval=1)
    WorkerSettings(queues={"a": 5})
