"""What has to be true of the evidence at the end of a run. Every rule gives sentences about what breaks it.

What cannot be known is not claimed: when the handler of a killed worker ended; whether a handler under a lapsed lease
was still at work; whether a transaction was committed whose connection broke at the commit (it is there as a whole or
not at all, and that is checked).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.ledger import Evidence, Run, Transition

# Verbs by which a holder ends its own lease; those of them that give the task back; and the calls that reclaim, as a
# client's statement names them first.
HOLDERS = {"complete", "complete_many", "fail", "fail_many", "snooze", "release", "release_many"}
RETURNS = {"snooze", "release", "release_many"}
RECLAIMS = {"maintain", "next_wakeup"}

# Seconds, between the clock of the database as it was measured at the end and the monotonic one.
CLOCKS_DIFFER = 0.1


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the workload promises of its jobs and queues.

    lossy_after  from this time of the monotonic clock on, what was acknowledged may have been lost with a primary
    """

    failing_jobs: frozenset[str] = frozenset()
    effect_jobs: frozenset[str] = frozenset()
    max_attempts: dict[str, int] = field(default_factory=dict)
    max_running: dict[str, int] = field(default_factory=dict)
    lossy_after: float = float("inf")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Counts of a run, and what is wrong with it. `lost` and `doubled` count tasks.

    latest_reclaim  the longest time, in seconds, from the lapse of a lease to the reclaim of its task
    """

    tasks: int
    runs: int
    reclaimed: int
    retried: int
    uncertain: int
    lost: int
    doubled: int
    lost_with_primary: int
    latest_reclaim: float
    complaints: list[str]


def check(evidence: Evidence, rules: Rules) -> Report:
    """Look at all of it."""
    case = _Case(evidence, rules)
    lost = [*case.lost(), *case.unfinished()]
    doubled = [*case.doubled(), *case.doubled_effects()]
    others: Iterable[Callable[[], Iterator[str]]] = (
        case.torn, case.from_nowhere, case.wrong_ends, case.missing_runs, case.runs_without_a_lease, case.late_runs,
        case.broken_leases,
        case.wrong_attempts, case.exceeded_in_the_database, case.exceeded_by_handlers, case.wrong_letters,
    )  # fmt: skip
    complaints = [*lost, *doubled]
    for rule in others:
        complaints += rule()
    return Report(
        tasks=len(evidence.history),
        runs=len(evidence.runs),
        reclaimed=sum(final.lapsed for final in evidence.history),
        retried=sum(final.attempt > 1 for final in evidence.history),
        uncertain=sum(len(batch.numbers) for batch in evidence.batches if batch.committed_at is None),
        lost=len(lost),
        doubled=len(doubled),
        lost_with_primary=len(case.lost_with_primary),
        latest_reclaim=case.latest_reclaim(),
        complaints=complaints,
    )


class _Case:
    def __init__(self, evidence: Evidence, rules: Rules) -> None:
        self.evidence = evidence
        self.rules = rules
        self.of_task: dict[int, list[Transition]] = defaultdict(list)
        for transition in evidence.transitions:
            self.of_task[transition.task].append(transition)
        self.runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
        for run in evidence.runs:
            self.runs[run.task, run.lease].append(run)
        self.claims = {(each.task, each.lease): each for each in evidence.transitions if each.before == "pending"}
        self.present = Counter(final.number for final in evidence.history)
        self.known = self.present.keys() | set(evidence.live)
        self.lost_with_primary: list[int] = []

    # Lost

    def lost(self) -> Iterator[str]:
        for batch in self.evidence.batches:
            if batch.committed_at is None:
                continue
            missing = [number for number in batch.numbers if number not in self.known]
            if batch.committed_at > self.rules.lossy_after:
                self.lost_with_primary += missing
            else:
                yield from (f"number {number} was committed, and is gone" for number in missing)

    def unfinished(self) -> Iterator[str]:
        yield from (f"number {number} is not final" for number in self.evidence.live)

    def torn(self) -> Iterator[str]:
        """An uncertain transaction has happened as a whole, or not at all; a certain one that was lost, too."""
        for batch in self.evidence.batches:
            there = sum(number in self.known for number in batch.numbers)
            if 0 < there < len(batch.numbers):
                yield f"of the transaction of number {batch.numbers[0]}, {there} of {len(batch.numbers)} are there"

    # Doubled

    def doubled(self) -> Iterator[str]:
        for number, times in self.present.items():
            if number is not None and times > 1:
                yield f"number {number} is in the history {times} times"
        ends = Counter(each.task for each in self.evidence.transitions if each.after == "final")
        yield from (f"task {task} has ended {times} times" for task, times in ends.items() if times > 1)

    def doubled_effects(self) -> Iterator[str]:
        effects = Counter(self.evidence.effects)
        for final in self.evidence.history:
            if final.number is None:
                continue
            expected = final.job in self.rules.effect_jobs and final.state == "succeeded"
            if effects[final.number] != expected:
                yield f"number {final.number} ({final.job}, {final.state}) has {effects[final.number]} effects"
        for number in effects.keys() - self.present.keys():
            yield f"number {number} has an effect, and is not in the history"

    # Ends

    def from_nowhere(self) -> Iterator[str]:
        offered = {number for batch in self.evidence.batches for number in batch.numbers}
        for final in self.evidence.history:
            if final.number not in offered:
                yield f"task {final.task}, number {final.number}, was offered by nobody"

    def wrong_ends(self) -> Iterator[str]:
        for final in self.evidence.history:
            expected = "failed" if final.job in self.rules.failing_jobs else "succeeded"
            if final.state != expected:
                yield f"task {final.task} of {final.job} has {final.state}"

    def missing_runs(self) -> Iterator[str]:
        """What has succeeded was run to its end, under the lease with which it was completed."""
        last = {each.task: each for each in self.evidence.transitions if each.after == "final"}
        for final in self.evidence.history:
            end = last.get(final.task)
            if end is None:
                yield f"task {final.task} is in the history, and never ended"
            elif final.state == "succeeded" and not any(
                run.returned for run in self.runs.get((final.task, end.lease or ""), ())
            ):
                yield f"task {final.task} was completed under lease {end.lease}, under which no handler has returned"

    def wrong_letters(self) -> Iterator[str]:
        letters = Counter(self.evidence.dead_letters)
        failed = {final.task for final in self.evidence.history if final.state == "failed"}
        for task in failed | letters.keys():
            if letters[task] != (task in failed):
                yield f"task {task} has {letters[task]} dead letters"

    # Leases

    def runs_without_a_lease(self) -> Iterator[str]:
        """Each run belongs to one claim that was committed, and no claim was run twice."""
        for (task, lease), runs in self.runs.items():
            claim = self.claims.get((task, lease))
            if claim is None:
                if runs[0].begun_at <= self.rules.lossy_after:
                    yield f"task {task} ran under lease {lease}, which was never given"
            elif any(run.attempt != claim.attempt for run in runs):
                yield f"task {task} ran as attempt {runs[0].attempt} under a claim of attempt {claim.attempt}"
            if len(runs) > 1:
                yield f"task {task} ran {len(runs)} times under lease {lease}"

    def late_runs(self) -> Iterator[str]:
        """No run begins after its own worker has ended the lease. Of another's reclaim it may not know yet."""
        for task, transitions in self.of_task.items():
            for each in transitions:
                if each.before != "in_progress" or each.after == "in_progress" or each.verb not in HOLDERS:
                    continue
                for run in self.runs.get((task, each.lease or ""), ()):
                    if run.begun_at > each.at + CLOCKS_DIFFER:
                        late = run.begun_at - each.at
                        yield f"task {task} began {late:.3f} s after {each.verb} had ended lease {each.lease}"

    def broken_leases(self) -> Iterator[str]:
        """A lease is given for a pending task only, and ends by the worker that has it, or after it has lapsed."""
        for task, transitions in self.of_task.items():
            held: Transition | None = None
            for each in transitions:
                if each.before == "pending" and each.after == "in_progress":
                    if held is not None:
                        yield f"task {task} was given to a second holder under lease {each.lease}"
                    held = each
                    continue
                if each.before != "in_progress":
                    continue
                if held is None or each.lease != held.lease:
                    yield f"task {task}: {each.verb} has changed it under lease {each.lease}, which nobody had"
                elif each.verb not in RECLAIMS and each.client != held.client:
                    yield f"task {task}: {each.verb} by {each.client!r}, and {held.client!r} has the lease"
                elif each.after == "in_progress":
                    held = each  # renewed
                elif each.verb not in HOLDERS and not (each.verb in RECLAIMS and (held.expires_at or 0) <= each.at):
                    left = (held.expires_at or 0) - each.at
                    yield f"task {task}: {each.verb} took it {left:.3f} s before its lease ended"
                if each.after != "in_progress":
                    held = None

    def latest_reclaim(self) -> float:
        reclaims = [each for each in self.evidence.transitions if each.lease is not None and each.verb in RECLAIMS]
        return max((each.at - (each.expires_at or 0) for each in reclaims), default=0.0)

    # Attempts

    def wrong_attempts(self) -> Iterator[str]:
        """Each claim counts, each return takes back, and the history has the sum."""
        attempts = {final.task: final.attempt for final in self.evidence.history}
        jobs = {final.task: final.job for final in self.evidence.history}
        for task, transitions in self.of_task.items():
            if task not in attempts:
                continue
            count = 0
            for each in transitions:
                if each.before == "pending" and each.after == "in_progress":
                    count += 1
                elif each.before == "in_progress" and each.after == "pending" and each.verb in RETURNS:
                    count -= 1
                if each.attempt != count:
                    yield f"task {task}: {each.verb} left attempt {each.attempt}, and {count} had begun"
                    break
            if attempts[task] != count:
                yield f"task {task} has {attempts[task]} attempts in the history, and {count} had begun"
            most = self.rules.max_attempts.get(jobs[task])
            if most is not None and attempts[task] > most:
                yield f"task {task} of {jobs[task]} had {attempts[task]} attempts, of {most} that it may have"
            elif jobs[task] in self.rules.failing_jobs and attempts[task] != most:
                yield f"task {task} of {jobs[task]} failed after {attempts[task]} attempts, not {most}"

    # Limits

    def exceeded_in_the_database(self) -> Iterator[str]:
        changes = []
        for place, each in enumerate(self.evidence.transitions):
            running = (each.after == "in_progress") - (each.before == "in_progress")
            if running:
                changes.append((each.at, place, running, each.queue, each.key))
        yield from self._exceeded(changes, "tasks were in progress")

    def exceeded_by_handlers(self) -> Iterator[str]:
        """Only of runs whose holder settled them: how long another held its lease is not known to its handler."""
        settled = {
            (each.task, each.lease)
            for each in self.evidence.transitions
            if each.before == "in_progress" and each.verb in HOLDERS - RETURNS
        }
        changes = []
        for run in self.evidence.runs:
            if run.ended_at is not None and (run.task, run.lease) in settled:
                changes.append((run.begun_at, 1, 1, run.queue, run.key))
                changes.append((run.ended_at, 0, -1, run.queue, run.key))
        yield from self._exceeded(changes, "handlers ran")

    def _exceeded(self, changes: list[tuple[float, int, int, str, str | None]], what: str) -> Iterator[str]:
        running: Counter[tuple[str, str | None]] = Counter()
        for at, _, change, queue, key in sorted(changes, key=lambda change: change[:2]):
            most = self.rules.max_running.get(queue)
            for place, limit in (((queue, None), most), ((queue, key), 1 if key is not None else None)):
                if limit is not None:
                    running[place] += change
                    if change > 0 and running[place] > limit:
                        yield f"at {at:.3f} {running[place]} {what} of {place}, of {limit} that may"
