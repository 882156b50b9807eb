"""Tasks that a row finds in the database."""

from __future__ import annotations

from systems import System

FILL = """
    select count(underway.enqueue_many(%(queue)s, batch.inputs, %(job)s, delay => %(delay)s, priority => %(priority)s))
    from (
        select array_agg(jsonb_build_object('p', jsonb_build_object('i', number))) as inputs
        from generate_series(1, %(tasks)s) as number
        group by number / 1000
    ) as batch"""

FILL_WITH_KEYS = """
    select count(underway.enqueue_many(batch.tasks))
    from (
        select jsonb_agg(jsonb_build_object(
            'queue', 'bench', 'job', 'noop', 'concurrency_key', format('key-%%s', number %% %(keys)s),
            'input', jsonb_build_object('p', jsonb_build_object('i', number))
        )) as tasks
        from generate_series(1, %(tasks)s) as number
        group by number / 1000
    ) as batch"""


def fill(
    system: System, tasks: int, *, queue: str = "bench", job: str = "noop", delay: str | None = None, priority: int = 0
) -> None:
    with system.connect() as connection:
        connection.execute("select underway.create_queue(%s)", [queue])
        connection.execute(FILL, {"queue": queue, "job": job, "tasks": tasks, "delay": delay, "priority": priority})


def fill_with_keys(system: System, tasks: int, keys: int) -> None:
    """Enqueue tasks with one of these many concurrency keys each, in turn."""
    with system.connect() as connection:
        connection.execute(FILL_WITH_KEYS, {"tasks": tasks, "keys": keys})


# Each call is committed.
FILL_QUEUE = """
    select underway.enqueue_many(
        %(queue)s,
        array(select jsonb_build_object('p', jsonb_build_object('i', i)) from generate_series(1, %(tasks)s) as i),
        'noop'
    )"""


def queue_names(queues: int) -> list[str]:
    """Return the queues that a worker of so many queues serves."""
    return ["bench", *(f"bench-{number}" for number in range(1, queues))]


def fill_queues(system: System, queues: int, tasks: int) -> None:
    """Enqueue this number of tasks in each queue."""
    with system.connect() as connection:
        for queue in queue_names(queues):
            connection.execute(FILL_QUEUE, {"queue": queue, "tasks": tasks})


def create_queues(system: System, queues: int) -> None:
    with system.connect() as connection:
        connection.execute("select underway.create_queue(name) from unnest(%s::text[]) name", [queue_names(queues)])


# A session that claims and completes batches without a pause, each in a transaction of its own.
CLAIMER = """
    do $$
    declare
        v_tasks  bigint[];
        v_leases uuid[];
    begin
        for v_number in 1..{calls} loop
            select array_agg(c.id), array_agg(c.lease)
            into v_tasks, v_leases
            from underway.dequeue('bench', {batch}) c;
            exit when v_tasks is null;
            perform from underway.complete_many(v_tasks, v_leases);
            commit;
        end loop;
    end;
    $$"""
