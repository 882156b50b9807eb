"""Cron expressions beside croniter: within the grammar that both read, they name the same times.

Zones whose clocks change are left out here: test_cron_properties.py is about them. Some answers are meant to differ;
DIFFERENCES lists them all, with both answers.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import psycopg
import pytest
from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from tests.py.support import Session, refused
from tests.servers import Server
from underway_pg import schema

LONG = bool(os.environ.get("UNDERWAY_LONG"))
PAIRS = 20_000 if LONG else 2_000
SEED = 20_260_101

# How many times are compared for each expression and start.
STEPS = 4

INVALID_CRON = "UW008"

# Zones whose clocks do not change from the year 2000 on.
STEADY = ["Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Etc/GMT+5", "America/Phoenix", "Africa/Lagos"]

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def session(server: Server) -> Iterator[Session]:
    with server.database() as dsn, Session(dsn) as session:
        session.run("set timezone = 'UTC'")
        yield session


# Both answers


@dataclass(frozen=True)
class Pair:
    """An expression and a start, whose next times are compared."""

    cron: str
    zone: str
    start: datetime

    def __str__(self) -> str:
        return f"{self.cron!r} in {self.zone} after {self.start.astimezone(ZoneInfo(self.zone)).isoformat()}"


def by_underway(session: Session, pairs: Sequence[Pair]) -> list[list[int]]:
    """The next times of each pair in seconds of the epoch, in one statement."""
    return session.column(
        """select array(
            select extract(epoch from at)::bigint
            from underway.cron_preview(pair.cron, pair.zone, pair.after, %s) at
        )
        from unnest(%s::text[], %s::text[], %s::timestamptz[]) with ordinality as pair (cron, zone, after, number)
        order by pair.number""",
        STEPS,
        [pair.cron for pair in pairs],
        [pair.zone for pair in pairs],
        [pair.start for pair in pairs],
    )


def by_croniter(pair: Pair, *, years: int | None = None, second_at_beginning: bool = True) -> list[int]:
    """The same times by croniter, which gives up after a number of years, where we say that none comes."""
    times = croniter(
        pair.cron,
        pair.start.astimezone(ZoneInfo(pair.zone)),
        second_at_beginning=second_at_beginning,
        max_years_between_matches=years,
    )
    found: list[int] = []
    try:
        while len(found) < STEPS:
            found.append(round(times.get_next(float)))
    except CroniterBadDateError:
        pass
    return found


def shown(epochs: Sequence[int], zone: str = "UTC") -> str:
    """Times as a person writes them; no seconds and no midnights where there are none."""

    def one(epoch: int) -> str:
        text = datetime.fromtimestamp(epoch, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")
        return text.removesuffix(":00").removesuffix(" 00:00")

    return ", ".join(map(one, epochs)) or "none"


# Random expressions of the grammar that both read


@dataclass(frozen=True)
class Field:
    """The values of a field; those named here begin at its lowest."""

    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return self.high - self.low + 1


SECOND = MINUTE = Field(0, 59)
HOUR = Field(0, 23)
DAY = Field(1, 31)
MONTH = Field(1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
WEEKDAY = Field(0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
YEAR = Field(1970, 2099)

MACROS = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]

RARE = [
    "0 0 29 2 *",
    "0 0 31 2 *",
    "0 0 30 2 fri",
    "0 0 31 4,6,9,11 *",
    "0 0 31 */2 *",
    "0 0 30,31 2,3 *",
    "0 0 29-31 2 ?",
    "0 0 * 2 mon#5",
    "0 0 * 2 Sun#5,7#5",
    "0 0 0 29 2 ? 1996-2016/4",
    "59 59 23 31 12 ? 2001,2050",
    "0 0 0 29 2 * 2097-2099",
    "0 0 L 2 *",
    "0 0 30W 2 *",
    "0 0 31W * ?",
    "0 0 1W * *",
    "0 0 ? 2,6 L0",
    "59 23 31 12 *",
    "0 0 0 1 1 * 1970",
]


class Generator:
    """Expressions and starts by a seed. What DIFFERENCES names does not come."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pair(self) -> Pair:
        zone = "UTC" if self._chance(0.4) else self._random.choice(STEADY)
        return Pair(self.expression(), zone, self._start(1900 if zone == "UTC" else 2000))

    def expression(self) -> str:
        if self._chance(0.02):
            return self._mixed_case(self._random.choice(MACROS))
        if self._chance(0.05):
            return self._random.choice(RARE)
        day, weekday = self._days()
        fields = [self._field(MINUTE), self._field(HOUR), day, self._field(MONTH, every=0.6), weekday]
        if self._chance(0.5):
            fields.insert(0, self._field(SECOND))
            if self._chance(0.5):
                fields.append(self._field(YEAR))
        return self._spaced(fields)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _mixed_case(self, text: str) -> str:
        return self._random.choice([text, text, text.upper(), text.title()])

    def _spaced(self, fields: list[str]) -> str:
        if self._chance(0.9):
            return " ".join(fields)
        return " " + "".join(field + self._random.choice([" ", "  ", "\t", " \n"]) for field in fields)

    def _days(self) -> tuple[str, str]:
        """Day of month and day of week: a day by rule stands where the other field is open."""
        open_field = self._random.choice("**?")
        kind = self._random.choices(["plain", "last", "nearest", "of the week"], [70, 10, 10, 10])[0]
        if kind == "plain":
            return (
                "?" if self._chance(0.1) else self._field(DAY, every=0.5),
                "?" if self._chance(0.1) else self._field(WEEKDAY, every=0.5),
            )
        if kind == "last":
            # Few others beside it: see "all days by a list with L".
            others = [str(self._random.randint(1, 31)) for _ in range(self._random.choice([0, 0, 1, 3]))]
            return self._list([self._mixed_case("l"), *others]), self._field(WEEKDAY, every=0.7)
        if kind == "nearest":
            return f"{self._random.randint(1, 31)}{self._mixed_case('w')}", open_field
        return open_field, self._list([self._weekday_by_rule() for _ in range(self._random.choice([1, 1, 2, 3]))])

    def _weekday_by_rule(self) -> str:
        if self._chance(0.4):
            return f"{self._mixed_case('l')}{self._random.randint(0, 7)}"
        # Without the zero of 05#1: see "a zero before a day by rule".
        return f"{self._value(WEEKDAY).removeprefix('0') or 0}#{self._random.randint(1, 5)}"

    def _list(self, items: list[str]) -> str:
        self._random.shuffle(items)
        return ",".join(items)

    def _field(self, field: Field, *, every: float = 0.25) -> str:
        if self._chance(every):
            return "*"
        if field is YEAR:
            # Never all of the years: see "all years by a list".
            return self._list([self._item(field), *(self._value(field) for _ in range(self._random.choice([0, 0, 2])))])
        items = [self._item(field) for _ in range(self._random.choice([1, 1, 1, 2, 2, 3, 5]))]
        if self._chance(0.03):
            items.append("*")
        return self._list(items)

    def _item(self, field: Field) -> str:
        kinds = [self._value, self._value, self._range, self._wrapping, self._start_and_step, self._star_and_step]
        return self._random.choice(kinds)(field)

    def _value(self, field: Field, number: int | None = None) -> str:
        if number is None:
            number = self._random.randint(field.low, field.high)
        if field.names and self._chance(0.5):
            return self._mixed_case(field.names[number - field.low])
        if field is WEEKDAY and number == 0:
            return self._random.choice("07")
        return f"{number:02}" if self._chance(0.05) else str(number)

    def _step(self, field: Field, span: int) -> str:
        """A step that fits into the range: see "a step that is larger than its range"."""
        # A step of one over all years: see "all years by a list".
        least = 2 if field is YEAR else 1
        if span < least:
            return ""
        return f"/{self._random.randint(least, max(least, min(span, self._random.choice([6, field.width]))))}"

    def _range(self, field: Field) -> str:
        if field is WEEKDAY and self._chance(0.2):
            return "0-7" + (self._step(field, 6) if self._chance(0.5) else "")
        low, high = sorted(self._random.sample(range(field.low, field.high + 1), 2))
        if field is YEAR:
            high = min(high, low + 40)
        step = self._step(field, high - low) if self._chance(0.5) else ""
        first = "0" if field is WEEKDAY and low == 0 and step else self._value(field, low)
        return f"{first}-{self._value(field, high)}{step}"

    def _wrapping(self, field: Field) -> str:
        """A range over the end of the field; its step, if any, lands on the first value: see "wrapping"."""
        high, low = sorted(self._random.sample(range(field.low, field.high + 1), 2))
        if field is YEAR:
            low, high = max(low, 2000), min(high, 1980)
        to_end = field.high + 1 - low
        span = high - low + field.width
        steps = [step for step in range(1, min(to_end, span) + 1) if to_end % step == 0]
        step = f"/{self._random.choice(steps)}" if self._chance(0.5) else ""
        return f"{self._value(field, low)}-{self._value(field, high)}{step}"

    def _start_and_step(self, field: Field) -> str:
        number = self._random.randint(field.low, field.high)
        return self._value(field, number) + self._step(field, field.high - number)

    def _star_and_step(self, field: Field) -> str:
        return "*" + self._step(field, field.high - field.low)

    def _start(self, first_year: int) -> datetime:
        first = datetime(first_year, 1, 1, tzinfo=UTC)
        start = first + timedelta(seconds=self._random.randrange(90 * 365 * 86_400))
        if self._chance(0.3):
            # Close to the end of a month.
            start = start.replace(day=1, hour=0, minute=0, second=0) + timedelta(seconds=self._random.randint(-3, 1))
        if self._chance(0.1):
            start += timedelta(milliseconds=self._random.randrange(1000))
        return start


def years_to_look(pair: Pair) -> int | None:
    """Where years are listed, the next may be further than the 50 years that croniter looks by itself."""
    return 200 if len(pair.cron.split()) == 7 else None


def test_random_expressions_name_the_same_times_as_in_croniter(session: Session) -> None:
    generator = Generator(SEED)
    pairs = [generator.pair() for _ in range(PAIRS)]
    differing = []
    for pair, ours in zip(pairs, by_underway(session, pairs), strict=True):
        theirs = by_croniter(pair, years=years_to_look(pair))
        if ours != theirs:
            differing.append(f"{pair}\n  croniter: {shown(theirs, pair.zone)}\n  underway: {shown(ours, pair.zone)}")
    assert not differing, f"{len(differing)} of {PAIRS} differ (seed {SEED}):\n" + "\n".join(differing[:10])


@pytest.mark.parametrize("cron", [*RARE, *MACROS])
def test_the_rarest_expressions_name_the_same_times_as_in_croniter(session: Session, cron: str) -> None:
    starts = [
        datetime(year, month, 28, 23, 59, 59, tzinfo=UTC) for year in range(1960, 2110, 5) for month in (1, 2, 12)
    ]
    pairs = [Pair(cron, "UTC", start) for start in starts]
    theirs = [by_croniter(pair, years=years_to_look(pair)) for pair in pairs]
    assert by_underway(session, pairs) == theirs


def test_the_generator_reaches_all_of_the_grammar() -> None:
    generator = Generator(SEED)
    text = "\n".join(generator.expression() for _ in range(2_000))
    for part in ["?", "L", "l,", "W ", "#5", "l3", "FRI", "Fri", "fri", "*/", "0-7", ",*", "@", "\t", "Dec-", "/"]:
        assert part in text, part


# Where the two differ


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An expression that the two read differently, with both answers from a start on."""

    because: str
    cron: str
    croniter: str
    underway: str
    zone: str = "UTC"
    start: datetime = NEW_YEAR
    second_at_beginning: bool = True
    years: int | None = None


REFUSED = "refused"

EQUAL_ENDS = "a range with equal ends: the whole field there, one value here"
WIDE_STEP = "a step that is larger than its range: the first value alone there, refused here"
WRAPPING = "a step that passes over the end of the field: croniter goes on one too late"
TWO_RULES = "a day by rule beside another day field: croniter keeps one or both of them, here either matches"
MORE_RULES = "days by rule that croniter does not know, or not in a list"
ALL_AND_RULE = "a list in which a day by rule is one of many: croniter forgets the others"
INTERVALS = "an interval, which croniter does not know"
MORE_SPELLINGS = "spellings that only croniter knows"
ZEROS = "a zero in front of a day by rule, or more than four digits"
BELOW_LOW = "a range that ends below the field: croniter goes on to the end of the field, and no further"
ALL_YEARS = "all years by a list: for croniter the years before and after them too"
ALL_DAYS = "all days by a list with L beside a step over *: for croniter every day when they are not 31, and vice versa"
FAR_YEARS = "croniter gives up after 50 years"
TRIMMED = "space around a name"
SECONDS = "six fields: croniter has the second last unless it is told"
FIXED_TWICE = "a fixed time that clocks show twice comes twice there"
REPEATED_GAP = "a repeating time that clocks jump over comes after the jump there"

SUNDAY_OF_CHANGE = datetime(2026, 11, 1, 4, tzinfo=UTC)

DIFFERENCES = [
    Difference(
        because=EQUAL_ENDS,
        cron="0 0 5-5 * *",
        croniter="2026-01-02, 2026-01-03, 2026-01-04",
        underway="2026-01-05, 2026-02-05, 2026-03-05",
    ),
    Difference(
        because=EQUAL_ENDS,
        cron="0 0 1 jan-jan *",
        croniter="2026-02-01, 2026-03-01, 2026-04-01",
        underway="2027-01-01, 2028-01-01, 2029-01-01",
    ),
    Difference(
        because=EQUAL_ENDS,
        cron="0 0 * * 7-0",
        croniter="2026-01-02, 2026-01-03, 2026-01-04",
        underway="2026-01-04, 2026-01-11, 2026-01-18",
    ),
    Difference(
        because=WIDE_STEP,
        cron="*/90 * * * *",
        croniter="2026-01-01 01:00, 2026-01-01 02:00, 2026-01-01 03:00",
        underway=REFUSED,
    ),
    Difference(
        because=WIDE_STEP,
        cron="0 5/70 * * *",
        croniter="2026-01-01 05:00, 2026-01-02 05:00, 2026-01-03 05:00",
        underway=REFUSED,
    ),
    Difference(
        because=WIDE_STEP,
        cron="0 0-10/20 * * *",
        croniter="2026-01-02, 2026-01-03, 2026-01-04",
        underway=REFUSED,
    ),
    Difference(
        because=WRAPPING,
        cron="0 23-5/2 * * *",
        croniter="2026-01-01 02:00, 2026-01-01 04:00, 2026-01-01 23:00",
        underway="2026-01-01 01:00, 2026-01-01 03:00, 2026-01-01 05:00",
    ),
    Difference(
        because=WRAPPING,
        cron="0 0 * * sat-tue/2",
        croniter="2026-01-03, 2026-01-06, 2026-01-10",
        underway="2026-01-03, 2026-01-05, 2026-01-10",
    ),
    Difference(
        because=WRAPPING,
        cron="0 0 30-5/3 * *",
        croniter="2026-01-03, 2026-01-30, 2026-02-03",
        underway="2026-01-02, 2026-01-05, 2026-01-30",
    ),
    Difference(
        because=TWO_RULES,
        cron="0 0 13 * fri#2",
        croniter="2026-01-09, 2026-02-13, 2026-03-13",
        underway="2026-01-09, 2026-01-13, 2026-02-13",
    ),
    Difference(
        because=TWO_RULES,
        cron="0 0 13 * L5",
        croniter="none",
        underway="2026-01-13, 2026-01-30, 2026-02-13",
    ),
    Difference(
        because=TWO_RULES,
        cron="0 0 15W * mon",
        croniter="2026-01-15, 2026-02-16, 2026-03-16",
        underway="2026-01-05, 2026-01-12, 2026-01-15",
    ),
    Difference(
        because=TWO_RULES,
        cron="0 0 1W * sun",
        croniter="none",
        underway="2026-01-04, 2026-01-11, 2026-01-18",
    ),
    Difference(
        because=MORE_RULES,
        cron="0 0 LW * *",
        croniter=REFUSED,
        underway="2026-01-30, 2026-02-27, 2026-03-31",
    ),
    Difference(
        because=MORE_RULES,
        cron="0 0 * * 5L",
        croniter=REFUSED,
        underway="2026-01-30, 2026-02-27, 2026-03-27",
    ),
    Difference(
        because=MORE_RULES,
        cron="0 0 * * Lfri",
        croniter=REFUSED,
        underway="2026-01-30, 2026-02-27, 2026-03-27",
    ),
    Difference(
        because=MORE_RULES,
        cron="0 0 1,15W * *",
        croniter=REFUSED,
        underway="2026-01-15, 2026-02-01, 2026-02-16",
    ),
    Difference(
        because=MORE_RULES,
        cron="0 0 * * mon,fri#2",
        croniter=REFUSED,
        underway="2026-01-05, 2026-01-09, 2026-01-12",
    ),
    Difference(
        because=MORE_RULES,
        cron="0 0 * * mon,L5",
        croniter=REFUSED,
        underway="2026-01-05, 2026-01-12, 2026-01-19",
    ),
    Difference(
        because=ALL_AND_RULE,
        cron="0 0 * * *,mon#1",
        croniter="2026-01-05, 2026-02-02, 2026-03-02",
        underway="2026-01-02, 2026-01-03, 2026-01-04",
    ),
    Difference(
        because=ALL_AND_RULE,
        cron="0 0 * * 0-6,mon#1",
        croniter="2026-01-05, 2026-02-02, 2026-03-02",
        underway="2026-01-02, 2026-01-03, 2026-01-04",
    ),
    Difference(
        because=ALL_AND_RULE,
        cron="0 0 * * 5,L5",
        croniter="2026-01-30, 2026-02-27, 2026-03-27",
        underway="2026-01-02, 2026-01-09, 2026-01-16",
    ),
    Difference(
        because=INTERVALS,
        cron="@every 90 minutes",
        croniter=REFUSED,
        underway="2026-01-01 01:30, 2026-01-01 03:00, 2026-01-01 04:30",
    ),
    Difference(
        because=MORE_SPELLINGS,
        cron="0 0 w15 * *",
        croniter="2026-01-15, 2026-02-16, 2026-03-16",
        underway=REFUSED,
    ),
    Difference(
        because=MORE_SPELLINGS,
        cron="0 0 * * mon-fri#1",
        croniter="2026-01-02, 2026-01-05, 2026-01-06",
        underway=REFUSED,
    ),
    Difference(
        because=MORE_SPELLINGS,
        cron="0 0 28-L * *",
        croniter="2026-01-28, 2026-01-29, 2026-01-30",
        underway=REFUSED,
    ),
    Difference(
        because=ZEROS,
        cron="0 0 05W * *",
        croniter="2026-01-05, 2026-02-05, 2026-03-05",
        underway=REFUSED,
    ),
    Difference(
        because=ZEROS,
        cron="0 0 * * 01#1",
        croniter="2026-01-05, 2026-02-02, 2026-03-02",
        underway=REFUSED,
    ),
    Difference(
        because=ZEROS,
        cron="0 0 * * L05",
        croniter="2026-01-30, 2026-02-27, 2026-03-27",
        underway=REFUSED,
    ),
    Difference(
        because=ZEROS,
        cron="00005 0 * * *",
        croniter="2026-01-01 00:05, 2026-01-02 00:05, 2026-01-03 00:05",
        underway=REFUSED,
    ),
    Difference(
        because=BELOW_LOW,
        cron="0 0 30-0 * *",
        croniter="2026-01-30, 2026-01-31, 2026-03-30",
        underway=REFUSED,
    ),
    Difference(
        because=BELOW_LOW,
        cron="0 0 1 11-0 *",
        croniter="2026-11-01, 2026-12-01, 2027-11-01",
        underway=REFUSED,
    ),
    Difference(
        because=BELOW_LOW,
        cron="0 0 0 1 1 * 2098-5",
        croniter="2098-01-01, 2099-01-01",
        underway=REFUSED,
        years=200,
    ),
    Difference(
        because=ALL_YEARS,
        cron="0 0 0 1 1 * */1",
        croniter="2099-01-01, 2100-01-01, 2101-01-01",
        underway="2099-01-01",
        start=datetime(2098, 6, 1, tzinfo=UTC),
    ),
    Difference(
        because=ALL_DAYS,
        cron="0 0 1-30,L * */2",
        croniter="2026-01-03, 2026-01-04, 2026-01-06",
        underway="2026-01-02, 2026-01-03, 2026-01-04",
    ),
    Difference(
        because=ALL_DAYS,
        cron="0 0 */1,L * */2",
        croniter="2026-01-02, 2026-01-03, 2026-01-04",
        underway="2026-01-03, 2026-01-04, 2026-01-06",
    ),
    Difference(
        because=FAR_YEARS,
        cron="0 0 0 1 1 * 2099",
        croniter="none",
        underway="2099-01-01",
    ),
    Difference(
        because=TRIMMED,
        cron=" @daily ",
        croniter=REFUSED,
        underway="2026-01-02, 2026-01-03, 2026-01-04",
    ),
    Difference(
        because=SECONDS,
        cron="15 30 12 * * *",
        croniter=REFUSED,
        underway="2026-01-01 12:30:15, 2026-01-02 12:30:15, 2026-01-03 12:30:15",
        second_at_beginning=False,
    ),
    Difference(
        because=SECONDS,
        cron="15 20 10 2 * *",
        croniter="2026-02-10 20:15, 2026-02-10 20:15:01, 2026-02-10 20:15:02",
        underway="2026-01-02 10:20:15, 2026-02-02 10:20:15, 2026-03-02 10:20:15",
        second_at_beginning=False,
    ),
    Difference(
        because=FIXED_TWICE,
        cron="30 1 * * *",
        zone="America/New_York",
        start=SUNDAY_OF_CHANGE,
        croniter="2026-11-01 01:30, 2026-11-01 01:30, 2026-11-02 01:30",
        underway="2026-11-01 01:30, 2026-11-02 01:30, 2026-11-03 01:30",
    ),
    Difference(
        because=REPEATED_GAP,
        cron="*/30 2 * * *",
        zone="America/New_York",
        start=datetime(2026, 3, 7, 12, tzinfo=UTC),
        croniter="2026-03-08 03:00, 2026-03-09 02:00, 2026-03-09 02:30",
        underway="2026-03-09 02:00, 2026-03-09 02:30, 2026-03-10 02:00",
    ),
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: f"{difference.because}: {difference.cron}")
def test_where_the_two_differ_both_answers_are_known(session: Session, difference: Difference) -> None:
    pair = Pair(difference.cron, difference.zone, difference.start)
    if difference.croniter == REFUSED:
        with pytest.raises(CroniterBadCronError):
            by_croniter(pair, second_at_beginning=difference.second_at_beginning)
    else:
        times = by_croniter(pair, years=difference.years, second_at_beginning=difference.second_at_beginning)
        assert shown(times[:3], pair.zone) == difference.croniter
    if difference.underway == REFUSED:
        with refused(INVALID_CRON):
            by_underway(session, [pair])
    else:
        (times,) = by_underway(session, [pair])
        assert shown(times[:3], pair.zone) == difference.underway


@pytest.mark.parametrize("cron", ["H 0 * * *", "H(0-29)/10 * * * *", "R * * * *", "0 0 R * *"])
def test_hashed_and_random_times_are_only_known_to_croniter(session: Session, cron: str) -> None:
    assert croniter(cron, NEW_YEAR, hash_id="a job").get_next(float)
    with refused(INVALID_CRON):
        by_underway(session, [Pair(cron, "UTC", NEW_YEAR)])


# What both refuse


# One for each way to be wrong; fields are written without the others, which are *.
WRONG_FIELDS = {
    "second": "60 -1 */0 ? L mon",
    "minute": "60 0-60 61-5 1- -5 1-2-3 */ */0 5/0 1-5/0 */x /5 1/2/3 */5/2",
    "hour": "24 0-24 24/2 ? L 1, ,1 1,,2 , ** *-5 5-* *5 1.5 +1 1_0 0x1",
    "day of month": "0 32 0-5 5-32 0/5 0W 32W W 15WL 1-5W L-3 L/2 LL jan ?,5 ?/2",
    "month": "0 13 0-5 5-13 january ja mon jan- jan#1 L ? jan-feb-mar dec/0 13/2",
    "day of week": "8 0-8 8-9 monday mo jan mon#0 mon#6 8#1 mon# #1 mon##1 L8 L ?,5",
    "year": "1969 2100 1960-1980 2090-2100 26 ? L */0 0 mon *,5 jan,*",
}

WRONG = [
    "",
    " ",
    "*",
    "* * * *",
    "* * * * * * * *",
    "@reboot",
    "@every month",
    "@dailyy",
    "@",
    "daily",
    "@daily * * * *",
    "* * * *\u3000*",
    "* * * *\u00a0*",
    "\uff10 * * * *",
    "\u0663 * * * *",
    "*/\u0663 * * * *",
    "0 0 * * \u0663#1",
    "0 0 * * fr\u0131",
    *(
        " ".join(wrong if name == field else "*" for name in WRONG_FIELDS)
        for field, wrongs in WRONG_FIELDS.items()
        for wrong in wrongs.split()
    ),
]


@pytest.mark.parametrize("cron", WRONG)
def test_what_is_wrong_is_refused_by_both(session: Session, cron: str) -> None:
    pair = Pair(cron, "UTC", NEW_YEAR)
    with pytest.raises(CroniterBadCronError):
        by_croniter(pair)
    with refused(INVALID_CRON):
        by_underway(session, [pair])


@pytest.mark.parametrize("space", [" ", "\t", "\n", "\r", "\v", "\f", " \t "])
def test_space_of_any_kind_parts_fields_and_means_nothing_around_them(session: Session, space: str) -> None:
    for cron in (f"0{space}0 1 * *", f"{space}0 0 1 * *", f"0 0 1 * *{space}", f"{space}0 0 0 1 * * *{space}"):
        pair = Pair(cron, "UTC", NEW_YEAR)
        assert by_underway(session, [pair]) == [by_croniter(pair)], repr(cron)


# Databases that take letters and digits otherwise: in Turkish the small letter of I has no dot, and there are more
# digits than ten.
TURKISH = "locale_provider icu icu_locale 'tr-TR'"
UNICODE = "locale_provider builtin builtin_locale 'PG_UNICODE_FAST'"


@contextlib.contextmanager
def session_in(server: Server, locale: str) -> Iterator[Session]:
    """A session in a database of another locale, where the server has it."""
    name = "underway_cron_locale"
    drop = f"drop database if exists {name} with (force)".encode()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(drop)
        try:
            connection.execute(f"create database {name} template template0 encoding 'UTF8' {locale}".encode())
        except psycopg.Error as error:
            pytest.skip(f"this server has no such locale: {error}")
        try:
            dsn = urlsplit(server.dsn)._replace(path=f"/{name}").geturl()
            schema.migrate(dsn)
            with Session(dsn) as session:
                yield session
        finally:
            connection.execute(drop)


@pytest.mark.parametrize("locale", [TURKISH, UNICODE])
def test_expressions_mean_the_same_in_a_database_of_any_locale(server: Server, locale: str) -> None:
    with session_in(server, locale) as session:
        for cron in ("0 0 * * FRI", "0 0 * JUN-JUL FRI#1", "0 0 * * L5", "@MIDNIGHT", "@Daily"):
            pair = Pair(cron, "UTC", NEW_YEAR)
            assert by_underway(session, [pair]) == [by_croniter(pair)], cron
        for cron in WRONG:
            with refused(INVALID_CRON):
                by_underway(session, [Pair(cron, "UTC", NEW_YEAR)])


@pytest.mark.parametrize("locale", [TURKISH, UNICODE])
def test_abbreviations_are_no_time_zones_in_a_database_of_any_locale(server: Server, locale: str) -> None:
    with session_in(server, locale) as session:
        for zone in ("IST", "est", "ist"):
            with refused(INVALID_CRON):
                by_underway(session, [Pair("@daily", zone, NEW_YEAR)])
