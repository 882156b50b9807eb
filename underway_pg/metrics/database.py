"""The metrics of a database: of all queues, jobs, workers and schedules. Any one process may serve them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from ..errors import UnderwayError
from ..statements import Statement
from .application import require_prometheus
from .counts import BOUNDS, Histogram
from .exposition import render
from .worker import histogram

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["DatabaseCollector", "database_metrics", "database_sample", "metrics_response", "shards_metrics_response"]

logger = logging.getLogger(__name__)

_COUNTERS = {
    "enqueued": "Tasks that were enqueued.",
    "started": "Attempts that were started.",
    "succeeded": "Tasks that succeeded.",
    "failed": "Tasks that failed permanently.",
    "retried": "Failed attempts whose tasks were retried.",
    "cancelled": "Tasks that were cancelled.",
    "expired": "Tasks that were cancelled because nobody had started them in time.",
}

_STATES = ("ready", "scheduled", "in_progress", "waiting", "parked", "expired")

_SAMPLE = """
    select json_build_object(
        'bounds', underway.histogram_bounds(),
        'jobs', (select json_agg(j.job) from underway.job_list j),
        'totals', (select json_agg(t) from underway.stats_total t),
        'queues', (
            select json_agg(json_build_object(
                'queue', q.queue, 'ready', q.ready, 'scheduled', q.scheduled, 'in_progress', q.in_progress,
                'waiting', q.waiting, 'parked', q.parked, 'expired', q.expired, 'dead_letters', q.dead_letters,
                'workers', q.workers, 'paused', q.paused_at is not null, 'capped', q.capped,
                'oldest_ready_seconds', greatest(0, extract(epoch from now() - q.oldest_ready_at))
            ) order by q.queue)
            from underway.queue_stats q
        ),
        'workers', (
            select json_build_object(
                'alive', count(*) filter (where not w.lost), 'lost', count(*) filter (where w.lost),
                'slots', coalesce(sum(w.concurrency) filter (where not w.lost), 0)
            )
            from underway.worker_stats w
        ),
        'schedules', (
            select json_agg(json_build_object(
                'schedule', s.schedule, 'failing', s.last_error is not null, 'paused', s.paused_at is not null,
                'next_at', extract(epoch from s.next_at)
            ) order by s.schedule)
            from underway.schedule_stats s
        ),
        'health', underway.database_health()
    )::text"""


def database_sample() -> Statement[dict[str, Any]]:
    """All that the metrics of a database need, in one statement. Needs the role underway_observer."""
    return Statement(_SAMPLE, {}, lambda rows: json.loads(rows[0][0]))


def database_metrics(sample: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics of a database, from what `database_sample` has returned.

    Counters and histograms are by queue and job. They start at the installation, so they only grow. Tasks of jobs
    that are not registered, whose names anybody may invent, are counted together under the job ''.
    """
    yield from _totals(sample)
    yield from _queues(sample["queues"] or [])
    yield from _workers(sample["workers"])
    yield from _schedules(sample["schedules"] or [])
    yield from _health(sample["health"])


def _gauge(
    name: str, help: str, series: Iterable[tuple[Sequence[str], float | None]], labels: Sequence[str] = ()
) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"underway_{name}", help, labels=list(labels))
    for key, value in series:
        if value is not None:
            family.add_metric(key, float(value))
    return family


def _totals(sample: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    jobs = set(sample["jobs"] or [])
    queues = {each["queue"] for each in sample["queues"] or []}
    counts: dict[tuple[str, str], dict[str, int]] = {}
    run: dict[tuple[str, str], Histogram] = {}
    wait: dict[tuple[str, str], Histogram] = {}
    for each in sample["totals"] or []:
        if each["queue"] not in queues:
            continue  # it was dropped
        key = each["queue"], each["job"] if each["job"] in jobs else ""
        found = counts.setdefault(key, dict.fromkeys(_COUNTERS, 0))
        for name in _COUNTERS:
            found[name] += each[name]
        for name, histograms in (("run", run), ("wait", wait)):
            more = _histogram(sample["bounds"], each[f"{name}_histogram"], each[f"{name}_seconds"])
            histograms.setdefault(key, Histogram()).add(more)
    labels = ["queue", "job"]
    for name, help in _COUNTERS.items():
        family = CounterMetricFamily(f"underway_tasks_{name}", help, labels=labels)
        for key, found in counts.items():
            family.add_metric(key, found[name])
        yield family
    yield histogram("underway_run_seconds", "How long attempts have run.", run.items(), labels)
    yield histogram(
        "underway_wait_seconds", "How long tasks were ready before an attempt started.", wait.items(), labels
    )


def _histogram(bounds: Sequence[float], counts: Sequence[int], sum: float) -> Histogram:
    """A histogram of the database, which has more bounds than are exported."""
    found = Histogram(sum=sum)
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        # The first exported bound that is not below this one; a rounding error apart, they are the same numbers.
        place = next((i for i, one in enumerate(BOUNDS) if one > 0.999 * bound), len(BOUNDS))
        found.counts[place] += count
    return found


def _queues(queues: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    yield _gauge(
        "queue_tasks",
        "Live tasks by state. Counts may be capped, see underway_queue_capped.",
        (((each["queue"], state), each[state]) for each in queues for state in _STATES),
        ["queue", "state"],
    )
    for name, key, help in (
        ("queue_dead_letters", "dead_letters", "Dead letters that wait in the queue."),
        ("queue_oldest_ready_seconds", "oldest_ready_seconds", "How long the oldest ready task waits; 0 for none."),
        ("queue_paused", "paused", "1 if the queue is paused."),
        ("queue_workers", "workers", "Workers that serve the queue and were seen within a minute."),
        ("queue_capped", "capped", "1 if the queue has more tasks than were counted."),
    ):
        yield _gauge(name, help, (((each["queue"],), each[key] or 0) for each in queues), ["queue"])


def _workers(workers: Mapping[str, Any]) -> Iterator[Metric]:
    states = ((("alive",), workers["alive"]), (("lost",), workers["lost"]))
    yield _gauge("workers", "Workers by state; a lost one was not seen for a minute.", states, ["state"])
    yield _gauge("workers_concurrency", "How many tasks all workers may run at once.", [((), workers["slots"])])


def _schedules(schedules: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    for name, key, help in (
        ("schedule_failing", "failing", "1 if the last time of the schedule failed to enqueue its task."),
        ("schedule_paused", "paused", "1 if the schedule is paused."),
        ("schedule_next_timestamp_seconds", "next_at", "When the schedule is due next, as a Unix time."),
    ):
        yield _gauge(name, help, (((each["schedule"],), each[key]) for each in schedules), ["schedule"])


def _health(health: Mapping[str, Any]) -> Iterator[Metric]:
    tables, snapshot = health["tables"], health["oldest_snapshot"] or {}
    for key, help in (
        ("dead_rows", "Dead rows that vacuum has not removed, as PostgreSQL estimates them."),
        ("live_rows", "Rows, as PostgreSQL estimates them."),
        ("bytes", "The size of the table without its indexes."),
        ("index_bytes", "The size of the indexes of the table."),
    ):
        yield _gauge(f"table_{key}", help, (((each["name"],), each[key]) for each in tables), ["table"])
    for name, help, value in (
        (
            "oldest_snapshot_seconds",
            "Age of the oldest transaction, which keeps vacuum from removing rows.",
            snapshot.get("age_seconds", 0),
        ),
        ("oldest_snapshot_transactions", "Its age in transactions.", snapshot.get("xmin_age", 0)),
        ("prepared_transactions", "Prepared transactions of the server.", health["prepared_transactions"]),
        ("notification_queue_ratio", "How full the notification queue is.", health["notification_queue_usage"]),
        ("database_bytes", "The size of the database.", health["database_bytes"]),
        ("connections_used", "Connections of clients to the server.", health["connections"]["used"]),
        ("connections_max", "How many connections the server accepts.", health["connections"]["max"]),
        ("missing_indexes", "Indexes that the schema should have.", len(health["missing_indexes"])),
        ("invalid_indexes", "Indexes that PostgreSQL does not use.", len(health["invalid_indexes"])),
        ("clock_ahead_seconds", "How far the recorded times are ahead of the clock.", health["clock_ahead_seconds"]),
    ):
        yield _gauge(name, help, [((), value)])


class _Families:
    """Families that are made already, or whether the database could be asked, as a collector."""

    def __init__(self, families: Iterable[Metric], *, is_up: bool) -> None:
        self._families = families
        self._is_up = is_up

    def collect(self) -> Iterator[Metric]:
        yield _gauge("database_up", "1 if the database has answered.", [((), self._is_up)])
        yield from self._families


class _Labelled:
    """The families of several databases, each sample with the label `shard`; those of the same name are one."""

    def __init__(self, collectors: Mapping[str, _Families]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for shard, collector in self._collectors.items():
            for family in collector.collect():
                samples = [each._replace(labels={"shard": shard, **each.labels}) for each in family.samples]
                if family.name in families:
                    families[family.name].samples += samples
                else:
                    families[family.name], family.samples = family, samples
        yield from families.values()


_Run = Callable[[Statement[Any]], Awaitable[Any]]


async def metrics_response(run: _Run, accept: str | None = None) -> tuple[str, bytes]:
    """The metrics of a database for an answer over HTTP. Returns the content type and the body.

    `run` runs a statement, such as `AsyncClient.run`. `accept` is the header of the request. If the database cannot be
    asked, the answer has `underway_database_up 0` only, and the reason is logged. Raises ConfigurationError if
    prometheus-client is not installed.
    """
    require_prometheus()
    return render([await _families(run, "the database")], accept)


async def shards_metrics_response(runs: Mapping[str, _Run], accept: str | None = None) -> tuple[str, bytes]:
    """The metrics of several databases, each with the name of its database as the label `shard`; else the same."""
    require_prometheus()
    families = await asyncio.gather(*(_families(run, f"the database {name}") for name, run in runs.items()))
    return render([_Labelled(dict(zip(runs, families, strict=True)))], accept)


async def _families(run: _Run, which: str) -> _Families:
    try:
        sample = await run(database_sample())
    except (UnderwayError, psycopg.Error) as error:
        logger.warning("cannot read the metrics of %s: %s", which, str(error).strip())
        return _Families([], is_up=False)
    return _Families(database_metrics(sample), is_up=True)


class DatabaseCollector:
    """The metrics of a database, for a registry of prometheus-client: each `collect` runs one statement.

    `run` runs a statement, such as `Client.run`.
    """

    def __init__(self, run: Callable[[Statement[Any]], Any]) -> None:
        self._run = run

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now; `underway_database_up 0` only if the database cannot be asked."""
        try:
            sample = self._run(database_sample())
        except (UnderwayError, psycopg.Error) as error:
            logger.warning("cannot read the metrics of the database: %s", str(error).strip())
            return _Families([], is_up=False).collect()
        return _Families(database_metrics(sample), is_up=True).collect()
