"""The metrics of workers: of one in this process, or of several, which a supervisor merges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..version import VERSION
from ..worker import Worker
from ..worker.attempt import AttemptState
from ..worker.reports import JobLookup
from .application import require_prometheus
from .counts import BOUNDS, OUTCOMES, Histogram, WorkerCounts, WorkerSample

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["MergedWorkers", "WorkerCollector", "WorkerMetrics", "worker_families"]

_HELP = {
    "claimed": "Tasks that the worker has claimed.",
    "succeeded": "Tasks that the worker has completed.",
    "failed": "Tasks that failed permanently.",
    "retried": "Failed attempts whose tasks will be retried.",
    "snoozed": "Tasks that their handlers have put back for later.",
    "skipped": "Tasks that the worker has put back because it does not know their job or arguments.",
    "released": "Tasks that the worker has given back, most of them at a shutdown.",
    "cancelled": "Attempts that were stopped because the task was cancelled or its lease was lost.",
    "lost": "Results that the database did not accept because the lease was lost.",
}


class WorkerMetrics:
    """Counts for the metrics of a worker that has not been run yet. They may be read in any thread."""

    def __init__(self, worker: Worker) -> None:
        lookup = JobLookup(worker.jobs)

        def find_job(task: Any) -> str | None:
            job = lookup.find(task)
            return None if job is None else job.name

        self._worker = worker
        self.counts = WorkerCounts(find_job)
        worker.observer = self.counts

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        return worker_families(self.counts, [self.sample()])

    def as_json(self) -> dict[str, Any]:
        """What `MergedWorkers` takes, in another process."""
        return {"counts": self.counts.as_json(), "sample": self.sample().as_json()}

    def sample(self) -> WorkerSample:
        """How the worker is now."""
        worker, stats = self._worker, self._worker.stats()
        running = Counter(dict.fromkeys(list(self.counts.tasks), 0))
        running.update(
            self.counts.key(attempt.task)
            for attempt in worker.held
            if attempt.state in (AttemptState.RUNNING, AttemptState.STOPPING)
        )
        return WorkerSample(
            worker=worker.name,
            version=VERSION,
            ready=worker.health().ready,
            concurrency=worker.concurrency,
            prefetched=stats.prefetched,
            abandoned=worker.abandoned,
            running=dict(running),
        )


class WorkerCollector:
    """The metrics of a worker, for a registry of prometheus-client.

    Make it before the worker runs: `REGISTRY.register(WorkerCollector(worker))`. `underway worker --health-port` serves
    the same metrics by itself. Raises ConfigurationError if prometheus-client is not installed.
    """

    def __init__(self, worker: Worker) -> None:
        require_prometheus()
        self._metrics = WorkerMetrics(worker)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        return self._metrics.collect()


class MergedWorkers:
    """The metrics of several workers that run in processes, as one.

    The sums must never fall, because Prometheus takes a counter that falls for one that began at 0 again, and would
    count all that the other processes have done a second time. So the last counts of a process that has ended, or that
    does not answer, stay in the sums.
    """

    def __init__(self) -> None:
        self._ended = WorkerCounts()
        self._counts: dict[int, WorkerCounts] = {}
        self._samples: dict[int, WorkerSample] = {}

    def update(self, answers: Mapping[int, dict[str, Any]]) -> None:
        """The answers of the processes, by the number of each. One that has not answered is left out."""
        for number, answer in answers.items():
            self._counts[number] = WorkerCounts.from_json(answer["counts"])
        self._samples = {number: WorkerSample.from_json(answer["sample"]) for number, answer in answers.items()}

    def ended(self, number: int) -> None:
        """A process has ended. The next of its number counts from 0."""
        self._ended.add(self._counts.pop(number, WorkerCounts()))
        self._samples.pop(number, None)

    def collect(self) -> Iterator[Metric]:
        """The metrics as the last answers have them."""
        total = WorkerCounts()
        for counts in (self._ended, *self._counts.values()):
            total.add(counts)
        return worker_families(total, list(self._samples.values()))


def worker_families(counts: WorkerCounts, samples: Iterable[WorkerSample]) -> Iterator[Metric]:
    """The metrics of workers: the sum of what they have counted, and the sum of how they are."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    samples = list(samples)
    labels = ["queue", "job"]
    tasks = list(counts.tasks.items())
    for outcome in ("claimed", *OUTCOMES):
        family = CounterMetricFamily(f"underway_worker_tasks_{outcome}", _HELP[outcome], labels=labels)
        for key, each in tasks:
            family.add_metric(key, each.claimed if outcome == "claimed" else each.outcomes[outcome])
        yield family
    yield histogram(
        "underway_worker_run_seconds",
        "How long handlers have run.",
        [(key, each.run) for key, each in tasks],
        labels,
    )
    yield histogram(
        "underway_worker_claim_seconds", "How long statements have taken that claim tasks.", [((), counts.claims)]
    )
    yield histogram(
        "underway_worker_settle_seconds",
        "How long statements have taken that report the ends of tasks.",
        [((), counts.settlements)],
    )
    running = GaugeMetricFamily("underway_worker_running_tasks", "Handlers that run now.", labels=labels)
    sum_of_running: Counter[tuple[str, str]] = Counter({key: 0 for key, _ in tasks})
    for sample in samples:
        sum_of_running.update(sample.running)
    for key, number in sum_of_running.items():
        running.add_metric(key, number)
    yield running
    for name, help, numbers in (
        ("prefetched_tasks", "Tasks that are claimed and wait for a slot.", [each.prefetched for each in samples]),
        ("abandoned_handlers", "Handlers that did not stop and still run.", [each.abandoned for each in samples]),
        ("concurrency", "How many tasks may run at once.", [each.concurrency for each in samples]),
        ("ready", "How many workers claim tasks: 1 for one that is ready.", [int(each.ready) for each in samples]),
    ):
        yield GaugeMetricFamily(f"underway_worker_{name}", help, value=sum(numbers))
    info = InfoMetricFamily("underway_worker", "The name and the version of each worker.", labels=["worker"])
    for sample in samples:
        info.add_metric([sample.worker], {"version": sample.version})
    yield info


def histogram(
    name: str, help: str, series: Iterable[tuple[tuple[str, ...], Histogram]], labels: Iterable[str] = ()
) -> Metric:
    """A histogram in seconds, whose buckets are cumulative."""
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.utils import floatToGoString

    family = HistogramMetricFamily(name, help, labels=list(labels))
    for key, found in series:
        total, buckets = 0, []
        for bound, count in zip((*BOUNDS, float("inf")), list(found.counts), strict=True):
            total += count
            buckets.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]
        family.add_metric(key, buckets, found.sum)
    return family
