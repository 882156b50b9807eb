"""Jobs: what arguments become, what is refused, and with which words."""

import asyncio
import dataclasses
import datetime
import functools
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import underway_pg as underway
from tests import forks
from underway_pg import Context, Enqueued, Queue, RetryPolicy, statements
from underway_pg.client import execute
from underway_pg.errors import (
    ConfigurationError,
    InputError,
    InvalidArgument,
    QueueFull,
    QueueNotFound,
    UniqueConflict,
)
from underway_pg.settings import Options, TaskOptions


@dataclasses.dataclass
class Address:
    street: str
    number: int


@pytest.fixture
def app(database: str) -> Any:
    with underway.App(database) as app:
        yield app


def input_of(app: underway.App, task: int) -> Any:
    info = app.task(task)
    assert info is not None
    return info.input


def test_a_job_stays_a_function(app: underway.App) -> None:
    @app.job
    def double(number: int) -> int:
        """Twice as much."""
        return 2 * number

    assert double(21) == 42
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice as much."


def test_arguments_become_an_object_by_name(app: underway.App) -> None:
    @app.job
    def send(user_id: int, name: str = "x", **more: str) -> None: ...

    assert input_of(app, send.enqueue(7, "Ferris")) == {"user_id": 7, "name": "Ferris"}
    assert input_of(app, send.enqueue(user_id=7)) == {"user_id": 7}
    assert input_of(app, send.enqueue(user_id=7, colour="red")) == {"user_id": 7, "colour": "red"}


def test_values_go_to_json_and_back(app: underway.App) -> None:
    @app.job
    def remember(at: datetime.datetime, id: uuid.UUID, home: Address) -> None: ...

    given = {
        "at": datetime.datetime(2026, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "id": uuid.UUID(int=1),
        "home": Address("Main Street", 5),
    }
    input = input_of(app, remember.enqueue(**given))
    assert input == {
        "at": "2026-02-03T04:05:00Z",
        "id": "00000000-0000-0000-0000-000000000001",
        "home": {"street": "Main Street", "number": 5},
    }
    assert remember.arguments.from_input(json.dumps(input).encode()) == given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "missing argument 'user_id'"),
        ({"user_id": 1, "colour": "red"}, "unknown argument 'colour'"),
        ({"user_id": "seven"}, "user_id='seven' does not fit: Input should be a valid integer"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_when_enqueueing(
    app: underway.App, arguments: dict[str, Any], words: str
) -> None:
    @app.job
    def send(user_id: int) -> None: ...

    with pytest.raises(InputError, match=f"job send.*{words}"):
        send.enqueue(**arguments)
    assert app.client.tasks() == []


@pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan"), float("inf")])
def test_what_json_or_postgresql_can_not_carry_is_refused(app: underway.App, value: object) -> None:
    @app.job
    def keep(value: Any) -> None: ...

    with pytest.raises(InputError, match=r"cannot be kept as JSON|does not survive"):
        keep.enqueue(value=value)


def test_text_about_a_nul_is_not_a_nul(app: underway.App) -> None:
    @app.job
    def keep(value: str) -> None: ...

    assert input_of(app, keep.enqueue(value="\\u0000")) == {"value": "\\u0000"}


class Account:
    def close(self, number: int) -> None: ...

    @classmethod
    def of_class(cls, number: int) -> None: ...

    @staticmethod
    def audit(number: int) -> int:
        return number


def first(*numbers: int) -> None: ...
def second(number: int, /) -> None: ...
def third(number: int, context: Context) -> None: ...
def fourth(connection: psycopg.Connection) -> None: ...
def generator(number: int) -> Iterator[int]:
    yield number


async def async_generator(number: int) -> AsyncIterator[int]:
    yield number


async def asynchronous(number: int) -> int:
    return number


@functools.wraps(asynchronous)
def around_async(number: int) -> Any:
    return asynchronous(number)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (first, "has no name"),
        (second, "has no name"),
        (third, "must be the first"),
        (fourth, "a type that JSON cannot carry"),
        (generator, "is a generator function"),
        (async_generator, "is a generator function"),
        (functools.partial(generator, number=1), "has no name for a job"),
        (lambda: None, "has no name for a job"),
        (Account, "is a class"),
        (Account.close, "is a method, and a task cannot carry its object"),
        (vars(Account)["of_class"], "put @classmethod above @app.job"),
        (around_async, "is a plain function around an async one"),
    ],
)
def test_a_function_that_can_not_be_a_job_is_refused_where_it_is_declared(function: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        underway.App("postgresql://nowhere").job(function)


def test_a_job_is_not_declared_twice() -> None:
    app = underway.App("postgresql://nowhere")

    @app.job
    def work() -> None: ...

    with pytest.raises(ConfigurationError, match="is the job work already"):
        app.job(name="other")(work)
    with pytest.raises(ConfigurationError, match="two jobs are named 'work'"):
        app.job(name="work")(lambda: None)


def test_messages_name_the_job_and_not_its_function() -> None:
    app = underway.App("postgresql://nowhere")

    @app.job(name="billing.charge")
    def charge(amount: int) -> object: ...

    for call in (lambda: charge.task("much"), lambda: charge.task(), lambda: charge._output.to_json(object())):
        with pytest.raises(InputError, match=r"job billing.charge: "):
            call()


def test_an_annotation_may_be_defined_after_the_job() -> None:
    source = """from __future__ import annotations
def declare(app):
    global Later, work
    @app.job
    def work(value: Later) -> Missing: ...
    @app.job
    def never(value: Missing) -> None: ...
    class Later(dict): ...
    return work, never
"""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    work, never = namespace["declare"](underway.App("postgresql://nowhere"))
    with pytest.raises(ConfigurationError, match=r"job never: an annotation cannot be resolved: name 'Missing'"):
        never.task(1)
    namespace["Later"] = int
    assert work.task(1).input == {"value": 1}


def test_functions_that_are_not_what_they_look_like_run(app: underway.App) -> None:
    class Sender:
        async def __call__(self, number: int) -> str:
            return f"sender {number}"

        def send(self, number: int) -> str:
            return f"method {number}"

    jobs = [
        app.job(name="wrapper", executor="async")(around_async),
        app.job(name="object")(Sender()),
        app.job(Sender().send),
        app.job(name="partial")(functools.partial(asynchronous)),
        app.job(name="static")(vars(Account)["audit"]),
        app.job(name="lambda")(lambda number: number),
    ]
    ids = [job.enqueue(number=7) for job in jobs]
    app.run(drain=True)
    assert [id.wait(timeout=10) for id in ids] == [7, "sender 7", "method 7", 7, 7, 7]


DEFINITION = "@app.job\ndef work() -> int: return {}\n"


def define(app: underway.App, code: str, file: str, module: str) -> None:
    exec(compile(code, file, "exec"), {"app": app, "__name__": module})


def test_a_cell_that_runs_again_replaces_its_job() -> None:
    app = underway.App("postgresql://nowhere")
    for number, file in enumerate(("<ipython-input-1>", "<ipython-input-2>", "/tmp/ipykernel_1/3.py")):
        define(app, "\n" * number + "@app.schedule('@daily')\n" + DEFINITION.format(number), file, "__main__")
        assert app.jobs["work"]() == number


def test_a_module_that_is_imported_twice_replaces_its_jobs() -> None:
    app = underway.App("postgresql://nowhere")
    for module in ("__main__", "tasks", "tasks"):
        define(app, DEFINITION.format(1), "/srv/tasks.py", module)
    assert list(app.jobs) == ["work"]


def test_two_functions_of_one_name_in_a_module_are_refused() -> None:
    for code in (DEFINITION.format(1) * 2, "for number in (1, 2):\n @app.job\n def work() -> int: return number\n"):
        with pytest.raises(ConfigurationError, match="two jobs are named 'work'"):
            define(underway.App("postgresql://nowhere"), code, "/srv/tasks.py", "tasks")


class Away(ConnectionError): ...


def test_errors_are_retried_as_the_policy_says() -> None:
    app = underway.App("postgresql://nowhere", queues=[Queue(name="q", retry=RetryPolicy(give_up_on=(KeyError,)))])
    plain = app.job(name="plain")(lambda: None)
    of_queue = app.job(name="of queue", queue="q")(lambda: None)
    policy = RetryPolicy(retry_on=(OSError, underway.Fatal), give_up_on=(Away,))
    strict = app.job(name="strict", queue="q", retry=policy)(lambda: None)

    group = ExceptionGroup("both", [OSError(), Away()])
    for error, expected in (
        (ValueError(), (True, True, False)),
        (KeyError(), (True, False, False)),
        (OSError(), (True, True, True)),
        (TimeoutError(), (True, True, True)),
        (Away(), (True, True, False)),
        (group, (True, True, False)),
        (ExceptionGroup("one", [OSError()]), (True, True, True)),
        (ExceptionGroup("fatal", [underway.Fatal()]), (False, False, False)),
        (underway.Fatal(), (False, False, False)),
        (InputError(), (False, False, False)),
        (underway.Retry(), (True, True, True)),
    ):
        assert tuple(job._is_retryable(error) for job in (plain, of_queue, strict)) == expected, error


def test_error_classes_of_a_single_task_are_refused() -> None:
    app = underway.App("postgresql://nowhere")
    job = app.job(name="work", retry=RetryPolicy(give_up_on=(KeyError,)))(lambda: None)
    job.options(retry=RetryPolicy(max_attempts=1))
    job.options(retry=RetryPolicy(max_attempts=1, give_up_on=(KeyError,)))
    with pytest.raises(ConfigurationError, match="give them to the job"):
        job.options(retry=RetryPolicy(retry_on=(OSError,)))
    with pytest.raises(ConfigurationError, match=r"retry_on is .*; give a tuple of exception classes"):
        RetryPolicy(retry_on=("OSError",))  # type: ignore[arg-type]


def test_an_error_that_is_given_up_on_ends_the_task(app: underway.App) -> None:
    @app.job(retry=RetryPolicy(give_up_on=(KeyError,)))
    def work() -> None:
        raise KeyError("gone")

    task = work.enqueue()
    app.run(drain=True)
    info = app.task(task)
    assert info is not None
    assert (info.state, info.attempt) == ("failed", 1)


def test_every_option_reaches_the_database_alone_in_bulk_and_in_a_batch(app: underway.App) -> None:
    @app.job
    def work() -> None: ...

    given: TaskOptions = {
        "delay": 1.5, "priority": 3, "retry": RetryPolicy(max_attempts=2), "timeout": 4,
        "heartbeat": datetime.timedelta(seconds=5), "retention": 6, "headers": {"a": [1]}, "unique_for": 7,
        "concurrency_key": "c", "after": [work.enqueue()], "after_failure": "run", "on_conflict": "error",
    }  # fmt: skip
    one = work.options(**given, unique_key="1").enqueue()
    (two,) = work.options(**given).enqueue_many([{}], unique_keys=["2"])
    app.client.enqueue_batch([work.options(**given, unique_key="3").task()])
    with psycopg.connect(app.dsn) as connection:
        rows = connection.execute(
            "select to_jsonb(t) - array['id', 'unique_key', 'unique_at', 'ready_at', 'enqueued_at', 'in_batch',"
            " 'seq', 'unique_expires_at'] from underway.task t where unique_key is not null order by id"
        ).fetchall()
    assert len(rows) == 3
    alone, bulk, batch = (row[0] for row in rows)
    assert alone == bulk
    assert {name: value for name, value in alone.items() if batch.get(name) != value} == {}
    assert (alone["priority"], alone["timeout"], alone["heartbeat"]) == (3, "00:00:04", "00:00:05")
    assert (one, two) == tuple(sorted((one, two)))
    assert work.options(**dict.fromkeys(given)).task().options == Options()  # type: ignore[arg-type]


def test_options_override_those_of_the_job(app: underway.App) -> None:
    app.client.create_queue(Queue(name="other"))

    @app.job(priority=5, retry=RetryPolicy(max_attempts=2))
    def work() -> None: ...

    plain = app.task(work.enqueue())
    special = app.task(work.options(queue="other", priority=0, headers={"trace": "x"}, delay=60).enqueue())
    assert plain is not None
    assert special is not None
    assert (plain.queue, plain.priority, plain.max_attempts, plain.headers) == ("default", 5, 2, None)
    assert (special.queue, special.priority, special.max_attempts, special.headers) == ("other", 0, 2, {"trace": "x"})
    assert special.ready_at is not None
    assert special.ready_at - special.enqueued_at == datetime.timedelta(seconds=60)


@pytest.mark.parametrize("priority", [-101, 101, 10**12])
def test_a_priority_outside_its_bounds_is_refused_before_anything_is_enqueued(priority: int) -> None:
    with pytest.raises(InputError, match=f"priority is {priority}; give an integer from -100 to 100"):
        Options(priority=priority)


def test_a_time_without_a_zone_is_refused(app: underway.App) -> None:
    @app.job
    def work() -> None: ...

    with pytest.raises(InputError, match="has no time zone"):
        work.options(run_at=datetime.datetime(2030, 1, 1)).enqueue()


def test_a_task_belongs_to_the_transaction_of_the_connection(app: underway.App) -> None:
    @app.job
    def work(number: int) -> None: ...

    app.client.create_queue(Queue(name="default"))

    with psycopg.connect(app.dsn) as connection:
        kept = work.using(connection).enqueue(number=1)
        assert app.task(kept) is None
        connection.commit()
        dropped = work.using(connection).enqueue_many([{"number": 2}, {"number": 3}])
        connection.rollback()
    assert input_of(app, kept) == {"number": 1}
    assert [app.task(task) for task in dropped] == [None, None]


def test_async_enqueueing_in_a_transaction(app: underway.App) -> None:
    @app.job
    async def work(number: int) -> None: ...

    app.client.create_queue(Queue(name="default"))

    async def main() -> tuple[int, list[int], int]:
        async with await psycopg.AsyncConnection.connect(app.dsn) as connection:
            kept = await work.using(connection).enqueue_async(number=1)
            many = await work.using(connection).enqueue_many_async([{"number": 2}, {"number": 3}])
            await connection.commit()
            dropped = await work.using(connection).enqueue_async(number=4)
            await connection.rollback()
        alone = await work.enqueue_async(number=5)
        await app.close_async()
        return kept, [*many, alone], dropped

    kept, others, dropped = asyncio.run(main())
    assert [input_of(app, task)["number"] for task in (kept, *others)] == [1, 2, 3, 5]
    assert app.task(dropped) is None


def test_a_unique_key_gives_the_task_that_has_it_or_replaces_it_or_is_refused(app: underway.App) -> None:
    @app.job
    def work(number: int) -> None: ...

    once = work.options(unique_key="k", unique_for=datetime.timedelta(hours=1), concurrency_key="c")
    task = once.enqueue(number=1)
    assert once.enqueue(number=2) == task
    info = app.task(task)
    assert info is not None
    assert (info.input, info.unique_key, info.concurrency_key) == ({"number": 1}, "k", "c")

    assert work.options(unique_key="k", on_conflict="replace").enqueue(number=3) == task
    assert input_of(app, task) == {"number": 3}
    with pytest.raises(UniqueConflict, match=f"the key 'k' of queue 'default' is taken by task {task}"):
        work.options(unique_key="k", on_conflict="error").enqueue(number=4)
    app.cancel(task)
    assert work.options(unique_key="k", on_conflict="error").enqueue(number=5) != task


KEYS = ["a", None, 'quoted " \\ {,} key', "a"]


def test_many_tasks_have_a_unique_key_each_and_say_what_became_of_each(app: underway.App) -> None:
    @app.job
    def work(number: int) -> None: ...

    calls = [{"number": number} for number in range(4)]
    first = work.enqueue_unique(calls, KEYS)
    assert [(each.created, each.replaced) for each in first] == [(True, False)] * 3 + [(False, False)]
    assert first[3] == Enqueued(first[0].id, False, False)
    again = work.options(on_conflict="replace", priority=3).enqueue_unique(calls, KEYS)
    assert [(each.created, each.replaced) for each in again] == [(False, True), (True, False)] + [(False, True)] * 2
    assert [each.id for each in again] == [first[0].id, again[1].id, first[2].id, first[0].id]
    assert work.enqueue_many(calls[:1], unique_keys=KEYS[2:3]) == [first[2].id]
    assert [app.task(each.id).unique_key for each in first[:3]] == KEYS[:3]  # type: ignore[union-attr]
    assert input_of(app, first[0].id) == {"number": 3}


def test_async_tasks_have_a_unique_key_each(app: underway.App) -> None:
    @app.job
    def work(number: int) -> None: ...

    app.client.create_queue(Queue(name="default"))

    async def main() -> tuple[list[Enqueued], list[int], list[Enqueued]]:
        calls = [{"number": number} for number in range(4)]
        async with await psycopg.AsyncConnection.connect(app.dsn) as connection:
            lost = await work.using(connection).enqueue_unique_async(calls, KEYS)
            await connection.rollback()
        first = await work.enqueue_unique_async(calls, KEYS)
        many = await work.enqueue_many_async(calls, unique_keys=KEYS)
        await app.close_async()
        return first, many, lost

    first, many, lost = asyncio.run(main())
    assert [each.created for each in first] == [True, True, True, False]
    assert [many[0], many[2], many[3]] == [first[0].id, first[2].id, first[0].id]
    assert app.task(lost[0].id) is None


def test_a_key_until_start_is_free_while_its_task_runs(app: underway.App) -> None:
    indexed: list[int] = []

    @app.job
    def index_page(revision: int) -> None:
        indexed.append(revision)
        if revision == 2:
            edit(3)

    def edit(revision: int) -> None:
        index_page.options(unique_key="page", on_conflict="replace", unique_until="start").enqueue(revision=revision)

    edit(1)
    edit(2)
    app.run(drain=True)
    assert indexed == [2, 3]


def test_one_unique_key_for_many_tasks_is_refused(app: underway.App) -> None:
    @app.job
    def work() -> None: ...

    with pytest.raises(InputError, match="give unique_keys, one for each"):
        work.options(unique_key="k").enqueue_many([{}, {}])


def test_a_schedule_with_a_key_is_refused(app: underway.App) -> None:
    @app.job
    def work() -> None: ...

    for option in ({"unique_key": "k"}, {"unique_for": 60}, {"unique_until": "start"}, {"concurrency_key": "k"}):
        with pytest.raises(InputError, match=r"schedule 'work' has the option (unique|concurrency)_\w+; overlap="):
            work.options(**option).schedule("@daily")  # type: ignore[arg-type]


def test_a_full_queue_is_refused(app: underway.App) -> None:
    @app.job
    def work() -> None: ...

    task = work.enqueue()
    with psycopg.connect(app.dsn) as connection:
        connection.execute("update underway.queue set max_length = 1")
    with pytest.raises(QueueFull, match="1 tasks pending, 1 more would exceed max_length 1"):
        work.enqueue()
    app.cancel(task)
    work.enqueue()


def test_a_connection_of_the_wrong_kind_is_refused(app: underway.App) -> None:
    @app.job
    def work() -> None: ...

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(app.dsn) as connection:
            with pytest.raises(ConfigurationError, match=r"psycopg\.AsyncConnection.*enqueue_async"):
                work.using(connection).enqueue()
        with (
            psycopg.connect(app.dsn) as connection,
            pytest.raises(ConfigurationError, match=r"psycopg\.Connection"),
        ):
            await work.using(connection).enqueue_async()

    asyncio.run(main())


def test_queues_of_jobs_exist_with_their_settings(database: str) -> None:
    with underway.App(database, queues=[Queue(name="email", dead_letter_queue="dead", timeout=60)]) as app:

        @app.job(queue="email")
        def send() -> None: ...

        @app.job(queue="reports")
        def report() -> None: ...

        send.enqueue()
        found = {queue.queue: queue for queue in app.client.queues()}
        assert set(found) == {"email", "dead", "reports"}
        assert found["email"].dead_letter_queue == "dead"
        assert found["email"].timeout == datetime.timedelta(seconds=60)
        with pytest.raises(QueueNotFound):
            send.options(queue="nowhere").enqueue()


def test_limits_of_queues_are_set_kept_and_taken_away(database: str) -> None:
    def limits() -> list[object]:
        (found,) = app.client.queues()
        period = found.rate_period.total_seconds()
        return [found.max_running, found.max_running_per_key, found.rate_limit, period, found.max_length]

    settings = Queue(
        name="email", max_running=8, max_running_per_key=2, rate_limit=100, rate_period=60, max_length=5000
    )
    with underway.App(database, queues=[settings]) as app:
        app.sync()
        assert limits() == [8, 2, 100, 60, 5000]
        app.client.create_queue(Queue(name="email", timeout=5))
        assert limits() == [8, 2, 100, 60, 5000]
        app.client.create_queue(Queue(name="email", rate_period=datetime.timedelta(minutes=2)))
        assert limits() == [8, 2, 100, 120, 5000]
        app.client.create_queue(Queue(name="email", max_running=0, rate_limit=0, max_length=0))
        assert limits() == [None, 2, None, 120, None]
        with pytest.raises(InvalidArgument, match="max_running_per_key is 0"):
            app.client.create_queue(Queue(name="email", max_running_per_key=0))


def test_a_limit_counts_from_the_next_claim_on(app: underway.App) -> None:
    @app.job(queue="email")
    def send() -> None: ...

    send.enqueue_many([{}] * 6)
    app.client.create_queue(Queue(name="email", max_running=2))

    def claim() -> int:
        with psycopg.connect(app.dsn) as connection:
            return len(execute(connection, statements.dequeue(["email"], 10)))

    assert [claim(), claim()] == [2, 0]
    app.client.create_queue(Queue(name="email", max_running=3))
    assert [claim(), claim()] == [1, 0]
    app.client.create_queue(Queue(name="email", max_running=0))
    assert claim() == 3


def test_a_queue_is_fair_until_it_is_told_otherwise(database: str) -> None:
    def fair() -> bool:
        (found,) = app.client.queues()
        return found.fair

    with underway.App(database, queues=[Queue(name="email", fair=True)]) as app:
        app.sync()
        assert fair()
        app.client.create_queue(Queue(name="email", timeout=5))
        assert fair()
        app.client.create_queue(Queue(name="email", fair=False))
        assert not fair()


def test_keys_are_paused_and_resumed(app: underway.App) -> None:
    client = app.client
    client.create_queue(Queue(name="email"))
    assert client.pause_key("email", "customer-7")
    assert not client.pause_key("email", "customer-7")
    assert [queue.paused_keys for queue in client.queues()] == [["customer-7"]]
    assert client.resume_key("email", "customer-7")
    assert not client.resume_key("email", "customer-7")
    assert [queue.paused_keys for queue in client.queues()] == [[]]
    with pytest.raises(QueueNotFound):
        client.pause_key("nowhere", "customer-7")
    with pytest.raises(InvalidArgument):
        client.pause_key("email", "")


def test_a_producer_without_the_right_to_create_queues_uses_those_that_exist(database: str) -> None:
    role = f"producer_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.create_queue('email')")
        connection.execute(f"create role {role} login in role underway_producer")
        try:
            with underway.App(psycopg.conninfo.make_conninfo(database, user=role)) as app:

                @app.job(queue="email")
                def send() -> None: ...

                assert send.enqueue() > 0
        finally:
            connection.execute(f"drop role {role}")


def test_a_program_that_closes_nothing_ends_at_once(database: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import time, underway_pg\n"
        f"app = underway_pg.App({database!r})\n"
        "@app.job\n"
        "def work() -> None: ...\n"
        "work.enqueue()\n"
        "print(time.time())\n"
    )
    done = forks.run([sys.executable, program], capture_output=True, text=True, check=True, timeout=60)
    assert time.time() - float(done.stdout) < 3
    assert done.stderr == ""
