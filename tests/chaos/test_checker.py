"""The checker complains about what is wrong, and about nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.chaos.checker import Rules, check
from tests.chaos.ledger import Batch, Evidence, Final, Ledger, Run, Transition, lines

RULES = Rules(
    failing_jobs=frozenset({"hopeless"}),
    effect_jobs=frozenset({"effect"}),
    max_attempts={"hopeless": 2},
    max_running={"limited": 1},
)


def moved(
    task: int, verb: str, at: float, before: str | None, after: str, attempt: int = 1, lease: str | None = None,
    expires_at: float | None = None, queue: str = "plain", key: str | None = None, client: str = "worker",
) -> Transition:  # fmt: skip
    return Transition(task, verb, at, before, after, attempt, lease, expires_at, queue, key, client)


def succeeded(task: int, at: float, *, queue: str = "plain", key: str | None = None) -> list[Transition]:
    """A task that is enqueued, claimed for two seconds and completed after one."""
    place = {"queue": queue, "key": key}
    return [
        moved(task, "enqueue_many", at, None, "pending", 0, **place),
        moved(task, "dequeue", at, "pending", "in_progress", 1, f"lease {task}", at + 2.0, **place),
        moved(task, "complete_many", at + 1.0, "in_progress", "final", 1, f"lease {task}", at + 2.0, **place),
    ]


def run(task: int, lease: str, begun_at: float, ended_at: float, **more: object) -> Run:
    return Run(task, lease, 1, "plain", None, begun_at, ended_at, returned=True, **more)


def lapsed_once(reclaimed_at: float = 3.0) -> Evidence:
    """A task whose first holder is killed, and whose second one completes it."""
    return Evidence(
        batches=[Batch([1], 0.0)],
        runs=[
            Run(1, "first", 1, "plain", None, 0.5),
            Run(1, "second", 2, "plain", None, 4.0, 5.0, returned=True),
        ],
        transitions=[
            moved(1, "enqueue_many", 0.0, None, "pending", 0),
            moved(1, "dequeue", 0.0, "pending", "in_progress", 1, "first", 2.0),
            moved(1, "next_wakeup", reclaimed_at, "in_progress", "pending", 1, "first", 2.0),
            moved(1, "dequeue", 4.0, "pending", "in_progress", 2, "second", 6.0),
            moved(1, "complete_many", 5.0, "in_progress", "final", 2, "second", 6.0),
        ],
        history=[Final(1, 1, "quick", "succeeded", 2, 1)],
    )


def good() -> Evidence:
    """Two tasks, the second with an effect."""
    return Evidence(
        batches=[Batch([1, 2], 0.0), Batch([3, 4])],
        runs=[run(1, "lease 1", 0.1, 0.9), run(2, "lease 2", 10.1, 10.9)],
        transitions=succeeded(1, 0.0) + succeeded(2, 10.0),
        history=[Final(1, 1, "quick", "succeeded", 1, 0), Final(2, 2, "effect", "succeeded", 1, 0)],
        effects=[2],
    )


def complaints(evidence: Evidence, rules: Rules = RULES) -> str:
    return "\n".join(check(evidence, rules).complaints)


def test_there_is_nothing_to_complain_of_in_good_runs() -> None:
    report = check(good(), RULES)
    assert (report.complaints, report.tasks, report.runs, report.uncertain) == ([], 2, 2, 2)
    report = check(lapsed_once(), RULES)
    assert (report.complaints, report.reclaimed, report.retried, report.latest_reclaim) == ([], 1, 1, 1.0)


def test_a_run_that_begins_after_its_lease_was_given_back_is_found() -> None:
    evidence = lapsed_once()
    evidence.transitions[2] = moved(1, "release_many", 1.0, "in_progress", "pending", 0, "first", 2.0)
    evidence.transitions[3:] = [
        moved(1, "dequeue", 4.0, "pending", "in_progress", 1, "second", 6.0),
        moved(1, "complete_many", 5.0, "in_progress", "final", 1, "second", 6.0),
    ]
    evidence.history = [Final(1, 1, "quick", "succeeded", 1, 0)]
    evidence.runs[1].attempt = 1
    assert complaints(evidence) == ""
    evidence.runs[0].begun_at = 1.5
    assert complaints(evidence) == "task 1 began 0.500 s after release_many had ended lease first"


def test_a_task_that_is_gone_is_lost() -> None:
    evidence = good()
    evidence.batches.append(Batch([7], 1.0))
    report = check(evidence, RULES)
    assert (report.lost, report.complaints) == (1, ["number 7 was committed, and is gone"])


def test_a_task_that_is_not_final_is_lost() -> None:
    evidence = good()
    evidence.batches.append(Batch([7], 1.0))
    evidence.live = [7]
    assert complaints(evidence) == "number 7 is not final"


def test_what_was_acknowledged_by_a_primary_that_died_is_counted_and_not_before_its_time() -> None:
    evidence = good()
    evidence.batches.append(Batch([7], 1.0))
    report = check(evidence, dataclasses.replace(RULES, lossy_after=0.5))
    assert (report.lost, report.lost_with_primary, report.complaints) == (0, 1, [])
    assert check(evidence, dataclasses.replace(RULES, lossy_after=1.5)).lost == 1


def test_half_a_transaction_is_torn() -> None:
    evidence = good()
    evidence.batches = [Batch([1, 5]), Batch([2], 0.0)]
    assert "of the transaction of number 1, 1 of 2 are there" in complaints(evidence)


def test_a_task_of_nobody_comes_from_nowhere() -> None:
    evidence = good()
    evidence.batches = [Batch([1], 0.0)]
    assert "task 2, number 2, was offered by nobody" in complaints(evidence)


def test_a_task_that_is_finished_twice_is_doubled() -> None:
    evidence = good()
    evidence.history.append(evidence.history[0])
    evidence.transitions.append(evidence.transitions[2])
    report = check(evidence, RULES)
    assert report.doubled == 2
    assert "number 1 is in the history 2 times" in report.complaints
    assert "task 1 has ended 2 times" in report.complaints


@pytest.mark.parametrize("effects", [[], [2, 2], [1, 2], [2, 9]])
def test_an_effect_happens_exactly_with_its_completion(effects: list[int]) -> None:
    evidence = good()
    evidence.effects = effects
    report = check(evidence, RULES)
    assert report.doubled == 1
    assert "effect" in complaints(evidence)


def test_a_success_without_a_handler_that_returned_is_found() -> None:
    evidence = good()
    evidence.runs[0].returned = False
    assert "under which no handler has returned" in complaints(evidence)


def test_a_run_under_no_lease_is_found() -> None:
    evidence = good()
    evidence.runs.append(run(1, "forged", 0.2, 0.3))
    assert complaints(evidence) == "task 1 ran under lease forged, which was never given"


def test_two_runs_under_one_lease_are_found() -> None:
    evidence = good()
    evidence.runs.append(run(1, "lease 1", 0.2, 0.3))
    assert complaints(evidence) == "task 1 ran 2 times under lease lease 1"


def test_a_lease_that_is_taken_before_it_has_lapsed_is_found() -> None:
    assert complaints(lapsed_once(reclaimed_at=1.5)) == "task 1: next_wakeup took it 0.500 s before its lease ended"


def test_a_second_holder_beside_the_first_is_found() -> None:
    evidence = lapsed_once()
    del evidence.transitions[2]
    assert "task 1 was given to a second holder under lease second" in complaints(evidence)


def test_a_late_holder_that_is_not_refused_is_found() -> None:
    evidence = lapsed_once()
    evidence.transitions[-1] = dataclasses.replace(evidence.transitions[-1], client="late")
    assert complaints(evidence) == "task 1: complete_many by 'late', and 'worker' has the lease"
    evidence.transitions[-1] = moved(1, "complete_many", 5.0, "in_progress", "final", 2, "first", 6.0)
    assert "complete_many has changed it under lease first, which nobody had" in complaints(evidence)


def test_a_renewed_lease_lasts_longer() -> None:
    evidence = lapsed_once()
    evidence.transitions.insert(2, moved(1, "heartbeat", 1.0, "in_progress", "in_progress", 1, "first", 2.9))
    assert complaints(evidence) == ""
    evidence.transitions[2] = dataclasses.replace(evidence.transitions[2], expires_at=3.5)
    assert "before its lease ended" in complaints(evidence)


def test_attempts_that_do_not_add_up_are_found() -> None:
    evidence = lapsed_once()
    evidence.history = [Final(1, 1, "quick", "succeeded", 1, 1)]
    assert complaints(evidence) == "task 1 has 1 attempts in the history, and 2 had begun"
    evidence.transitions[3] = dataclasses.replace(evidence.transitions[3], attempt=1)
    assert "left attempt 1, and 2 had begun" in complaints(evidence)


def test_an_attempt_that_was_given_back_does_not_count() -> None:
    evidence = lapsed_once()
    evidence.transitions[2] = moved(1, "release_many", 1.0, "in_progress", "pending", 0, "first", 2.0)
    evidence.transitions[3:] = [dataclasses.replace(transition, attempt=1) for transition in evidence.transitions[3:]]
    evidence.runs[1].attempt = 1
    evidence.history = [Final(1, 1, "quick", "succeeded", 1, 0)]
    assert complaints(evidence) == ""


@pytest.mark.parametrize(("attempts", "letters"), [(1, [1]), (3, [1]), (2, []), (2, [1, 1]), (2, [1, 2])])
def test_a_failure_has_all_its_attempts_and_one_dead_letter(attempts: int, letters: list[int]) -> None:
    evidence = lapsed_once()
    evidence.history = [Final(1, 1, "hopeless", "failed", 2, 1)]
    evidence.dead_letters = [1]
    assert complaints(evidence) == ""
    evidence.history = [Final(1, 1, "hopeless", "failed", attempts, 1)]
    evidence.dead_letters = letters
    assert complaints(evidence)


def test_a_wrong_end_is_found() -> None:
    evidence = good()
    evidence.history[0] = Final(1, 1, "hopeless", "succeeded", 1, 0)
    assert "task 1 of hopeless has succeeded" in complaints(evidence)


@pytest.mark.parametrize(("queue", "key"), [("limited", None), ("keyed", "a")])
def test_a_limit_that_is_exceeded_in_the_database_is_found(queue: str, key: str | None) -> None:
    evidence = good()
    evidence.transitions = succeeded(1, 0.0, queue=queue, key=key) + succeeded(2, 10.0, queue=queue, key=key)
    assert complaints(evidence) == ""
    evidence.transitions = succeeded(1, 0.0, queue=queue, key=key) + succeeded(2, 0.5, queue=queue, key=key)
    assert "2 tasks were in progress" in complaints(evidence)


@pytest.mark.parametrize(("queue", "key"), [("limited", None), ("keyed", "a")])
def test_a_limit_that_handlers_exceed_is_found(queue: str, key: str | None) -> None:
    evidence = good()
    evidence.runs = [dataclasses.replace(run(task, f"lease {task}", 0.1, 0.9), queue=queue, key=key) for task in (1, 2)]
    assert "2 handlers ran" in complaints(evidence)


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "worker")
    ledger.write("begin", task=1)
    ledger.write("returned", task=1)
    ledger.close()
    written = list(lines(tmp_path))
    assert [line["what"] for line in written] == ["begin", "returned"]
    assert written[0]["at"] <= written[1]["at"]
