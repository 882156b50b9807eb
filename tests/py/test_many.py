"""Several tasks in one call: an error says which of them is wrong."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from underway_pg import App
from underway_pg.client import Client
from underway_pg.errors import InputError


def calls_of(app: App) -> list[tuple[Callable[[], object], str]]:
    """Calls in which something is wrong, and which and what it is."""
    job: Any = app.jobs["work"]
    good, wrong = [{"number": 1}] * 16, [{"number": "much"}]
    return [
        (lambda: job.enqueue_many([*good, *wrong]), "call 17: job work: argument number='much' does not fit"),
        (lambda: job.enqueue_unique(good + wrong, [None] * 17), "call 17: job work: argument number='much'"),
        (lambda: asyncio.run(job.enqueue_many_async(good + wrong)), "call 17: job work: argument number='much'"),
        (lambda: job.enqueue_many([1, 2]), "call 1: 1 is not a mapping of arguments"),
        (lambda: job.enqueue_many({"number": 1}), "call 1: 'number' is not a mapping of arguments"),
        (lambda: job.enqueue_many(5), "5 is not a list; give one"),
        (
            lambda: app.enqueue_many([job.task(1), {"queue": "q"}]),
            r"task 2: {'queue': 'q'} is not a NewTask; .* Job.task",
        ),
        (lambda: app.enqueue_many(job.task(1)), r"NewTask\(.* is not a list; give one"),
        (lambda: asyncio.run(app.enqueue_many_async([7])), "task 1: 7 is not a NewTask"),
        (lambda: Client("x").enqueue_batch([job.task(1), 7]), "task 2: 7 is not a NewTask"),
        (lambda: Client("x").enqueue_batch([job.task(1)], on_final=7), "7 is not a NewTask"),
        (lambda: Client("x").enqueue_many("q", [1, object()]), "input 2: <object .* cannot be kept as JSON"),
    ]


@pytest.mark.parametrize("number", range(12))
def test_nobody_learns_which_of_many_is_wrong(number: int) -> None:
    app = App("postgresql://nowhere")

    @app.job
    def work(number: int) -> None: ...

    call, why = calls_of(app)[number]
    with pytest.raises(InputError, match=why):
        call()
