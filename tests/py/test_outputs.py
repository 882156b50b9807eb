"""What a handle returns: what the job's function returned, not its JSON."""

import asyncio
import datetime
import decimal
import functools
from typing import Any

import psycopg
import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field

import underway_pg as underway
from underway_pg import InvalidOutput, RetryPolicy
from underway_pg.errors import ConfigurationError


class Invoice(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int = Field(alias="invoiceNumber")
    due: datetime.date

    @computed_field  # type: ignore[prop-decorator]
    @property
    def title(self) -> str:
        return f"invoice {self.number}"


class Renamed(BaseModel):
    number: int = Field(validation_alias=AliasChoices("n", "number"), serialization_alias="number")


INVOICE = Invoice(invoiceNumber=7, due=datetime.date(2026, 1, 2))


@pytest.fixture
def app(database: str) -> Any:
    with underway.App(database) as app:
        yield app


def returned(app: underway.App, kind: Any, value: Any) -> tuple[Any, Any]:
    """What a handle returns for a function of this annotation that returns this, in plain and in async code."""

    def work() -> Any:
        return value

    work.__annotations__["return"] = kind
    handle = app.job(name=f"work-{len(app.jobs)}")(work).enqueue()
    app.run(drain=True)
    return handle.wait(5), asyncio.run(_result(handle))


async def _result(handle: underway.TaskHandle[Any]) -> Any:
    return await handle.result(5)


def test_a_handle_returns_plain_json_instead_of_the_annotated_type(app: underway.App) -> None:
    now = datetime.datetime.now(datetime.UTC)
    cases: list[tuple[Any, Any]] = [
        (Invoice, INVOICE),
        (list[Invoice], [INVOICE]),
        (Renamed, Renamed(n=3)),  # type: ignore[call-arg]
        (datetime.datetime, now),
        (datetime.timedelta | None, datetime.timedelta(seconds=3)),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (dict[int, decimal.Decimal], {1: decimal.Decimal("1.10")}),
        (float, 1e25),
        (None, None),
        (str, "a"),
        ("Invoice", INVOICE),
    ]
    for kind, value in cases:
        assert returned(app, kind, value) == (value, value), kind


def test_an_async_function_has_another_output_than_a_plain_one(app: underway.App) -> None:
    @app.job
    async def make() -> Invoice:
        return INVOICE

    @functools.wraps(make.function)
    def started() -> Any:
        return make()

    handles = [make.enqueue(), app.job(executor="async", name="started")(started).enqueue()]
    handles += make.enqueue_many([{}])
    app.run(drain=True)
    for handle in handles:
        output: Any = handle.wait(5)
        assert output == INVOICE


def test_an_output_without_a_useful_annotation_is_not_plain_json(app: underway.App) -> None:
    deep: list[Any] = []
    for _ in range(220):
        deep = [deep]
    assert returned(app, Any, deep) == (deep, deep)

    @app.job
    def unannotated():  # type: ignore[no-untyped-def]
        return INVOICE

    handle = unannotated.enqueue()
    other = app.enqueue_many([unannotated.task()])
    app.run(drain=True)
    plain = {"invoiceNumber": 7, "due": "2026-01-02"}
    assert handle.wait(5) == other[0].wait(5) == plain


def test_wait_for_by_id_validates(app: underway.App) -> None:
    @app.job
    def make() -> Invoice:
        return INVOICE

    handle = make.enqueue()
    app.run(drain=True)
    assert app.wait_for(handle.id) == {"invoiceNumber": 7, "due": "2026-01-02"}


def test_an_output_that_does_not_fit_is_returned_as_it_is(app: underway.App) -> None:
    with pytest.raises(
        InvalidOutput, match=r"output does not fit the return annotation Invoice: due: .*; app.wait_for"
    ):
        returned(app, Invoice, {"invoiceNumber": 7, "due": "s3cret"})
    with pytest.raises(InvalidOutput, match=r"annotation int: Input should be a valid integer") as caught:
        returned(app, int, "s3cret")
    assert "s3cret" not in str(caught.value)


def test_an_annotation_that_cannot_be_read_fails_the_task(app: underway.App) -> None:
    with pytest.raises(ConfigurationError, match=r"return annotation Connection.*returns the output as plain JSON"):
        returned(app, psycopg.Connection, {"a": 1})
    with pytest.raises(ConfigurationError, match="an annotation cannot be resolved: name 'Missing'"):
        returned(app, "Missing", 1)
    assert [app.wait_for(task.id, timeout=5) for task in app.client.tasks()] == [1, {"a": 1}]


def test_a_failed_task_raises_invalid_output(app: underway.App) -> None:
    @app.job(retry=RetryPolicy(max_attempts=1))
    def fail() -> Invoice:
        raise ValueError("no")

    handle = fail.enqueue()
    app.run(drain=True)
    with pytest.raises(underway.TaskFailed):
        handle.wait(5)
