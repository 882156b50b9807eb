"""Arguments: a handler receives what was enqueued, or the job or the enqueue is refused."""

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import ipaddress
import json
import pathlib
import re
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

import psycopg
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, computed_field, field_serializer
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

import underway_pg as underway
from underway_pg.errors import ConfigurationError, InputError, UnknownArguments
from underway_pg.statements import dump_json

UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
T = TypeVar("T")


def job_of(kind: Any) -> Any:
    """A job with one parameter of this type."""

    def handler(value: Any) -> None: ...

    handler.__annotations__ = {"value": kind}
    return underway.App("postgresql://nowhere").job(handler)


def through_json(job: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a handler receives for these arguments."""
    received: dict[str, Any] = job.arguments.from_input(dump_json(job.task(*args, **kwargs).input).encode())
    return received


def words(value: Any) -> str:
    """A value in the name of a test, without addresses: each process of a parallel run names its tests alike."""
    return re.sub(r" at 0x\w+", "", repr(value))


class Aliased(BaseModel):
    first_name: str = Field(alias="firstName")


class Generated(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")
    last_name: str


class ReadByOtherNames(BaseModel):
    user: str = Field(validation_alias=pydantic.AliasChoices("userName", "login"))


class WrittenByOtherName(BaseModel):
    user: str = Field("nobody", serialization_alias="userName")


class Hidden(BaseModel):
    shown: int
    hidden: int = Field(0, exclude=True)


class Square(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class Base64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Utf8(BaseModel):
    data: bytes


class HalfBase64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")
    data: bytes


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    at: datetime.datetime
    numbers: tuple[int, ...] = ()


class Login(BaseModel):
    user: str
    password: SecretStr


class RevealedLogin(Login):
    @field_serializer("password", when_used="json")
    def reveal(self, password: SecretStr) -> str:
        return password.get_secret_value()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Counted(BaseModel):
    number: int
    _seen: int = pydantic.PrivateAttr(0)


class Lazy(BaseModel):
    number: int

    @functools.cached_property
    def double(self) -> int:
        return 2 * self.number


class Box(BaseModel, Generic[T]):
    content: T


class Tree(BaseModel):
    children: "list[Tree]" = []


class Animal(BaseModel):
    name: str


class Dog(Animal):
    tricks: int


class Cat(BaseModel):
    kind: Literal["cat"] = Field("cat", alias="type")


class Bird(BaseModel):
    kind: Literal["bird"] = Field("bird", alias="type")


class Colour(enum.Enum):
    RED = "red"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(enum.Enum):
    ONE = (1, 2)


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Point3(Point):
    z: int = 0


@dataclasses.dataclass(eq=False)
class Plain:
    at: datetime.datetime


@dataclasses.dataclass
class Computed:
    number: int
    double: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.double = 2 * self.number


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Place(typing.NamedTuple):
    name: str
    height: int


AMBIGUOUS = datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)

JSON_TEXT = pydantic.Json[list[int]]

ARRIVE: list[tuple[Any, Any]] = [
    (int, 10**30),
    (float, 1e300),
    (float, -0.0),
    (bool, True),
    (str, 'Zażółć "\\u0000" \\ 🦀'),
    (None, None),
    (int | None, None),
    (Any, {"a": [1, 2.5, None, True, "x"]}),
    (object, "text"),
    (list[Any], [1, "1", None]),
    (datetime.datetime, datetime.datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)),
    (datetime.datetime, datetime.datetime(2026, 2, 3, 4, 5)),
    (datetime.datetime, datetime.datetime(2026, 7, 1, 12, tzinfo=BERLIN)),
    (datetime.datetime, AMBIGUOUS),
    (Plain, Plain(AMBIGUOUS)),
    (datetime.date, datetime.date(2026, 2, 3)),
    (datetime.date | datetime.datetime, datetime.date(2022, 9, 22)),
    (datetime.time, datetime.time(12, 30, tzinfo=UTC)),
    (datetime.timedelta, datetime.timedelta(days=-1, microseconds=1)),
    (uuid.UUID, uuid.UUID(int=1)),
    (decimal.Decimal, decimal.Decimal("1.10")),
    (pathlib.Path, pathlib.Path("/a/b")),
    (ipaddress.IPv4Address, ipaddress.IPv4Address("10.0.0.1")),
    (re.Pattern[str], re.compile("a+")),
    (bytes, b"text"),
    (Annotated[bytes, pydantic.Base64Bytes], b"abc"),
    (Annotated[int, Field(gt=0)], 5),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (dict[int, str], {1: "x"}),
    (dict[uuid.UUID, int], {uuid.UUID(int=1): 1}),
    (dict[datetime.date, int], {datetime.date(2026, 1, 1): 1}),
    (collections.deque[int], collections.deque([1, 2])),
    (collections.Counter[str], collections.Counter("aab")),
    (collections.defaultdict[str, list[int]], collections.defaultdict(list, a=[1])),
    (Colour, Colour.RED),
    (Permission, Permission.READ | Permission.WRITE),
    (Literal["a", 1], 1),
    (int | str, "7"),
    (bool | int, 1),
    (Point, Point(1, 2.5)),
    (list[Point], [Point(1)]),
    (Computed, Computed(2)),
    (Movie, {"title": "Alien"}),
    (Place, Place("Zugspitze", 2962)),
    (Aliased, Aliased(firstName="Ann")),
    (Generated, Generated(lastName="Lee")),
    (ReadByOtherNames, ReadByOtherNames(userName="ann")),
    (Square, Square(side=3)),
    (Base64, Base64.model_construct(data=b"\xff\x00")),
    (Utf8, Utf8(data=b"abc")),
    (Strict, Strict(at=datetime.datetime(2026, 1, 1, tzinfo=UTC), numbers=(1, 2))),
    (RevealedLogin, RevealedLogin(user="ann", password=SecretStr("hunter2"))),
    (Open, Open(anything=[1])),  # type: ignore[call-arg]
    (Counted, Counted(number=1)),
    (Box[datetime.date], Box[datetime.date](content=datetime.date(2026, 1, 1))),
    (Tree, Tree(children=[Tree(), Tree(children=[Tree()])])),
    (Animal | Dog, Dog(name="Rex", tricks=2)),
    (Annotated[Cat | Bird, Field(discriminator="kind")], Bird()),
    (list[Annotated[Cat | Bird, Field(discriminator="kind")]], [Cat(), Bird()]),
    (JSON_TEXT, [1, 2]),
    (pydantic.AnyHttpUrl, pydantic.AnyHttpUrl("https://example.com/a?b=c")),
]


@pytest.mark.parametrize(("kind", "value"), ARRIVE, ids=words)
def test_a_handler_receives_what_was_enqueued(kind: Any, value: Any) -> None:
    if kind is JSON_TEXT:
        received = through_json(job_of(kind), "[1, 2]")["value"]
    else:
        received = through_json(job_of(kind), value)["value"]
    if isinstance(value, Plain):
        value, received = value.at, received.at
    if value is AMBIGUOUS:
        assert received.astimezone(UTC) == value.astimezone(UTC)
    else:
        assert received == value
        assert type(received) is type(value)


def seen(number: int) -> Counted:
    counted = Counted(number=1)
    counted._seen = number
    return counted


REFUSED: list[tuple[Any, Any]] = [
    (float, float("nan")),
    (float | None, float("inf")),
    (Any, float("nan")),
    (Any, (1, 2)),
    (Any, {1: "x"}),
    (Any, {1, 2}),
    (Any, datetime.date(2026, 1, 1)),
    (Any, decimal.Decimal("1.5")),
    (Any, uuid.UUID(int=1)),
    (Any, b"abc"),
    (Any, Point(1)),
    (Any, object()),
    (Any, 1e25),
    (list[Any], [(1, 2)]),
    (datetime.datetime | str, "2026-01-01T00:00:00Z"),
    (uuid.UUID | str, str(uuid.UUID(int=1))),
    (list[int] | set[int], {1, 2}),
    (dict[tuple[int, int], str], {(1, 2): "x"}),
    (WrittenByOtherName, WrittenByOtherName(user="ann")),
    (Hidden, Hidden(shown=1, hidden=2)),
    (HalfBase64, HalfBase64(data=b"abcd")),
    (Utf8, Utf8(data=b"\xff")),
    (bytes, b"\xff"),
    (Pair, Pair.ONE),
    (Animal, Dog(name="Rex", tricks=2)),
    (pydantic.SerializeAsAny[Animal], Dog(name="Rex", tricks=2)),
    (Point, Point3(1, 2, 3)),
    (Counted, seen(3)),
    (Animal, Animal.model_construct(name=3)),
    (Annotated[int, pydantic.AfterValidator(lambda value: value + 1)], 1),
    (str, "\ud800"),
    (datetime.datetime, datetime.datetime(1880, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=3208)))),
]


@pytest.mark.parametrize(("kind", "value"), REFUSED, ids=words)
def test_what_would_not_arrive_as_it_is_is_refused_when_enqueueing(kind: Any, value: Any) -> None:
    with pytest.raises(InputError, match="job handler: "):
        dump_json(job_of(kind).task(value).input)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (SecretStr, "a secret"),
        (SecretBytes, "a secret"),
        (pydantic.Secret[int], "a secret"),
        (list[Login], "a secret"),
        (Login | None, "a secret"),
        (Callable[[], int], "a callable"),
        (type[int], "a class"),
        (Iterable[int], "take a list"),
        (psycopg.Connection, "Unable to generate pydantic-core schema"),
        (typing.IO[str], "Unable to generate"),
    ],
)
def test_a_type_that_can_not_pass_through_json_is_refused_where_the_job_is_declared(kind: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"job handler: parameter value: .*{words}"):
        job_of(kind)


def test_a_secret_is_not_shown_by_a_refusal() -> None:
    job = job_of(RevealedLogin)
    with pytest.raises(InputError) as refusal:
        job.task(RevealedLogin.model_construct(user=3, password=SecretStr("hunter2")))
    assert "hunter2" not in str(refusal.value)


def test_arguments_beside_kwargs_are_read_as_json() -> None:
    app = underway.App("postgresql://nowhere")

    @app.job
    def handler(value: Strict, size: int = 1, **more: Strict) -> None: ...

    strict = Strict(at=datetime.datetime(2026, 1, 1, tzinfo=UTC), numbers=(1,))
    assert through_json(handler, strict, other=strict) == {"value": strict, "other": strict}
    with pytest.raises(InputError, match="argument other=3 does not fit"):
        handler.task(strict, other=3)  # type: ignore[arg-type]


def test_a_worker_reads_names_and_aliases() -> None:
    job = job_of(Aliased)
    for name in ("firstName", "first_name"):
        assert job.arguments.from_input(json.dumps({"value": {name: "Ann"}}).encode()) == {
            "value": Aliased(firstName="Ann")
        }


def test_names_that_do_not_fit_are_told_from_values_that_do_not() -> None:
    app = underway.App("postgresql://nowhere")

    @app.job(name="billing.charge")
    def charge(customer: int, amount: decimal.Decimal = decimal.Decimal(1)) -> None: ...

    for text, words in (
        ("{}", "missing argument 'customer'"),
        ('{"customer": 1, "colour": 2}', "unknown argument 'colour'"),
        ('{"client": "x"}', "missing argument 'customer', unknown argument 'client'"),
    ):
        with pytest.raises(UnknownArguments, match=f"^job billing.charge: {words}; it takes "):
            charge.arguments.from_input(text.encode())
    for text, words in (
        ('{"customer": "x"}', "argument customer does not fit: Input should be a valid integer"),
        ("[1]", "the input is not an object with the arguments"),
        ("{", "the input cannot be read: Invalid JSON"),
    ):
        with pytest.raises(InputError, match=f"^job billing.charge: {words}") as refusal:
            charge.arguments.from_input(text.encode())
        assert not isinstance(refusal.value, UnknownArguments)
        assert refusal.value.__cause__ is None
    # A handler may enqueue: its own mistake must not look like a task for another worker.
    for args, words in (((1, 2, 3), "too many positional"), ((), "missing argument 'customer'")):
        with pytest.raises(InputError, match=f"^job billing.charge: {words}") as refusal:
            charge.task(*args)
        assert not isinstance(refusal.value, UnknownArguments)
    nested = job_of(Generated)
    with pytest.raises(InputError, match=r"argument value.lastName does not fit: Field required") as refusal:
        nested.arguments.from_input(b'{"value": {}}')
    assert not isinstance(refusal.value, UnknownArguments)


def test_values_of_a_task_are_not_in_the_error_of_its_worker() -> None:
    job = job_of(int)
    with pytest.raises(InputError) as refusal:
        job.arguments.from_input(b'{"value": "hunter2"}')
    error = refusal.value
    assert "hunter2" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


# Whatever the model


SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats()),
    (str, st.text()),
    (bytes, st.binary(max_size=4)),
    (bool, st.booleans()),
    (decimal.Decimal, st.decimals()),
    (datetime.datetime, st.datetimes(timezones=st.none() | st.timezones())),
    (datetime.date, st.dates()),
    (datetime.time, st.times()),
    (datetime.timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (
        Any,
        st.recursive(
            st.none() | st.integers() | st.text() | st.floats() | st.dates(),
            lambda values: st.lists(values) | st.tuples(values) | st.dictionaries(st.text() | st.integers(), values),
            max_leaves=4,
        ),
    ),
]


def containers(one: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    kind, values = one
    made: list[tuple[Any, st.SearchStrategy[Any]]] = [
        (list[kind], st.lists(values, max_size=3)),
        (tuple[kind, int], st.tuples(values, st.integers())),
        (kind | None, st.none() | values) if kind is not Any else one,
        (kind | str, values | st.text(max_size=12)) if kind is not Any else one,
        (dict[str, kind], st.dictionaries(st.text(max_size=3), values, max_size=3)),
    ]
    if kind in (int, str, uuid.UUID, datetime.date, bytes):
        made += [
            (dict[kind, int], st.dictionaries(values, st.integers(), max_size=3)),
            (set[kind], st.sets(values, max_size=3)),
            (dict[tuple[kind, int], int], st.dictionaries(st.tuples(values, st.integers()), st.integers(), max_size=2)),
        ]
    return st.sampled_from(made)


TYPES = st.sampled_from(SCALARS).flatmap(lambda one: st.just(one) | containers(one))


def comparable(value: Any) -> Any:
    """The value with its moments in UTC: an ambiguous local time equals no time of another zone."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return type(value)(map(comparable, value)) if isinstance(value, (list, tuple)) else value


@st.composite
def models(draw: st.DrawFn) -> tuple[type[BaseModel], BaseModel]:
    """A model of up to three fields with any configuration, and an instance of it."""
    config = ConfigDict(
        extra=draw(st.sampled_from(["ignore", "forbid", "allow"])),
        strict=draw(st.booleans()),
        alias_generator=draw(st.sampled_from([None, to_camel])),
        populate_by_name=draw(st.booleans()),
        use_enum_values=draw(st.booleans()),
        ser_json_bytes=draw(st.sampled_from(["utf8", "base64", "hex"])),
        val_json_bytes=draw(st.sampled_from(["utf8", "base64", "hex"])),
        ser_json_timedelta=draw(st.sampled_from(["iso8601", "float"])),
        ser_json_inf_nan=draw(st.sampled_from(["null", "constants", "strings"])),
    )
    shape: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in ("first_name", "b", "c")[: draw(st.integers(1, 3))]:
        kind, strategy = draw(TYPES)
        alias = draw(st.sampled_from([None, "otherName"])) if name == "b" else None
        excluded = draw(st.sampled_from([None, True])) if name == "c" else None
        shape[name] = (kind, Field(alias=alias, exclude=excluded))
        values[name] = draw(strategy)
    model = pydantic.create_model("Model", __config__=config, **shape)
    return model, model.model_construct(**values)


@settings(max_examples=150, deadline=None)
@given(models())
def test_any_model_arrives_equal_or_is_refused(case: tuple[type[BaseModel], BaseModel]) -> None:
    model, value = case
    job = job_of(model)
    try:
        text = dump_json(job.task(value).input)
    except InputError:
        return
    received = job.arguments.from_input(text.encode())["value"]
    assert type(received) is type(value)
    for name in model.model_fields:
        assert comparable(getattr(received, name)) == comparable(getattr(value, name))


@settings(max_examples=150, deadline=None)
@given(TYPES.flatmap(lambda one: st.tuples(st.just(one[0]), one[1])))
def test_any_argument_arrives_equal_or_is_refused(case: tuple[Any, Any]) -> None:
    kind, value = case
    job = job_of(kind)
    try:
        text = dump_json(job.task(value).input)
    except InputError:
        return
    assert comparable(job.arguments.from_input(text.encode())["value"]) == comparable(value)


def test_arguments_arrive_through_the_database(database: str) -> None:
    with underway.App(database) as app:
        received: dict[int, Any] = {}
        enqueued: dict[int, Any] = {}
        for number, (kind, value) in enumerate(ARRIVE):

            def handler(value: Any, number: int = number) -> None:
                received[number] = value

            handler.__annotations__ = {"value": kind}
            job = app.job(name=f"job {number}")(handler)
            if kind is not JSON_TEXT and value is not AMBIGUOUS and not isinstance(value, Plain):
                enqueued[number] = value
                job.enqueue(value)
        app.run(drain=True)
        assert received == enqueued


def test_parameters_of_decorated_partial_and_callable_objects_are_read() -> None:
    app = underway.App("postgresql://nowhere")

    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @app.job
    @logged
    def decorated(at: datetime.date) -> None: ...

    class Sender:
        def __call__(self, at: datetime.date) -> str:
            return f"called {at}"

        def send(self, at: datetime.date) -> None: ...

        @classmethod
        def of_class(cls, at: datetime.date) -> None: ...

    def two(at: datetime.date, number: int) -> None: ...

    day = datetime.date(2026, 1, 1)
    for job in (
        decorated,
        app.job(name="object")(Sender()),
        app.job(Sender().send),
        app.job(Sender.of_class),
        app.job(name="partial")(functools.partial(two, number=1)),
    ):
        assert through_json(job, at=day) == {"at": day}
    assert app.jobs["object"](day) == "called 2026-01-01"


class Hidden(BaseModel):
    shown: int
    hidden: Any = Field(default=None, repr=False)


def test_a_difference_that_the_texts_do_not_show_is_not_named() -> None:
    @underway.App("postgresql://nowhere").job
    def work(value: list[Hidden]) -> None: ...

    with pytest.raises(
        InputError, match=r"does not survive .*would receive the same but for value\.1\.hidden\.key"
    ) as it:
        work.task([Hidden(shown=1), Hidden(shown=2, hidden={"key": (1, 2)})])
    assert "was (1, 2) of type tuple and would be [1, 2] of type list" in str(it.value)


def test_an_unknown_keyword_beside_positional_arguments_does_not_list_what_the_job_takes() -> None:
    @underway.App("postgresql://nowhere").job
    def work(first: int, second: int = 1) -> None: ...

    for call in (lambda: work.task(1, third=3), lambda: work.task(first=1, third=3)):  # type: ignore[call-arg]
        with pytest.raises(InputError, match=r"third'; it takes \(first: int, second: int = 1\)"):
            call()
