"""The form of a queue's settings: durations in words, limits that may be empty, and only what was changed."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from underway_pg.dashboard.settings_form import QueueForm, read_duration, write_duration

QUEUE = SimpleNamespace(
    max_running=None, max_running_per_key=1, rate_limit=600, rate_limit_per_key=None, rate_period=timedelta(minutes=1),
    max_length=None, fair=False, max_attempts=5, initial_interval=timedelta(seconds=1), factor=2.0,
    max_interval=timedelta(minutes=1), jitter=0.5, dead_letter_queue="dead", timeout=timedelta(minutes=15),
    heartbeat=timedelta(seconds=30), retention=timedelta(days=14), keep_history=True,
)  # fmt: skip


def sent(**changes: str | None) -> QueueForm:
    """The form as a browser sends it after these changes; None leaves a box unchecked."""
    shown = QueueForm.of(QUEUE)
    fields: dict[str, Any] = {f"was_{name}": text for name, text in shown.before.items()}
    fields |= {name: text for name, text in shown.values.items() if text != "no"}
    for name, text in changes.items():
        fields.pop(name, None)
        if text is not None:
            fields[name] = text
    return QueueForm.read(fields)


def test_a_form_that_was_not_touched_changes_nothing() -> None:
    form = sent()
    assert (form.errors, form.changes()) == ({}, {})


def test_only_changed_settings_are_sent() -> None:
    queue = sent(max_running="4", rate_limit="", fair="yes", keep_history=None, dead_letter_queue="").queue(
        "mail", QueueForm.of(QUEUE)
    )
    assert (queue.max_running, queue.rate_limit, queue.fair, queue.keep_history) == (4, 0, True, False)
    assert queue.dead_letter_queue == ""
    assert queue.timeout is queue.retention is queue.retry is queue.max_length is None


def test_a_part_of_the_retry_policy_is_sent_with_the_other_parts() -> None:
    retry = sent(max_attempts="9").queue("mail", QueueForm.of(QUEUE)).retry
    assert retry is not None
    assert (retry.max_attempts, retry.factor, retry.jitter) == (9, 2.0, 0.5)
    assert (retry.initial_interval, retry.max_interval) == (timedelta(seconds=1), timedelta(minutes=1))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("1.5 s", 1.5), ("250 ms", 0.25), ("15 min", 900), ("15m", 900), ("2 hours", 7200),
        ("1h 30min", 5400),
        ("1 d 2 h", 93600), ("3 weeks", 1814400), ("1 minute, 5 seconds", 65), ("0", 0), ("10 µs", 1e-5),
    ],
)  # fmt: skip
def test_durations_are_read(text: str, seconds: float) -> None:
    assert read_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "-5 s", "5 parsecs", "5 s x", "1e9 d", "9" * 400 + " d", "٣ s", "nan"])
def test_wrong_durations_are_explained(text: str) -> None:
    form = sent(timeout=text)
    assert form.errors["timeout"]
    assert form.values["timeout"] == text


@pytest.mark.parametrize("seconds", [0, 0.001, 0.25, 1, 59, 60, 61, 3600, 5400, 86399, 86400, 93784.5, 14 * 86400])
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    assert read_duration(write_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_running", "-1"), ("max_running", "4.5"), ("max_running", "2147483648"), ("max_running", "four"),
        ("max_running_per_key", "0"), ("max_running_per_key", ""), ("max_attempts", "0"),
        ("factor", ""), ("factor", "x"),
    ],
)  # fmt: skip
def test_wrong_numbers_are_explained_at_their_fields(name: str, text: str) -> None:
    assert sent(**{name: text}).errors.keys() == {name}


def test_what_the_database_refuses_is_shown_at_the_field_that_it_names() -> None:
    form = sent(jitter="7", max_attempts="3")
    form.blame("jitter is 7; give a number from 0 to 1")
    assert form.errors == {"jitter": "jitter is 7; give a number from 0 to 1"}
    form = sent(jitter="7")
    form.blame("something else")
    assert form.errors == {"": "something else"}
