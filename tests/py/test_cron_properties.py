"""Cron expressions where clocks change: what always holds, and what comes, beside a walk from minute to minute.

When clocks change is read from the server, whose time zone data may be another release than Python's.
"""

from __future__ import annotations

import itertools
import os
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from tests.py.support import Session
from tests.servers import Server

LONG = bool(os.environ.get("UNDERWAY_LONG"))
MORE = 50 if LONG else 1
SEED = 20_260_102

ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Juneau",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "Antarctica/Troll",
    "Asia/Gaza",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Kwajalein",
]
YEARS = (1960, 2026)

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@pytest.fixture(scope="module")
def database_of_module(server: Server) -> Iterator[str]:
    with server.database() as dsn:
        yield dsn


@pytest.fixture(scope="module")
def session(database_of_module: str) -> Iterator[Session]:
    with Session(database_of_module) as session:
        session.run("set timezone = 'UTC'")
        yield session


# When clocks change. All times are seconds of the epoch; a local time is what they are where the clocks show it in UTC.


@dataclass(frozen=True)
class Change:
    """The first second of another offset from UTC."""

    zone: str
    at: int
    before: int
    after: int

    @property
    def shift(self) -> int:
        return self.after - self.before


@dataclass
class Clock:
    """What the clocks of a zone show."""

    zone: str
    changes: list[Change] = field(default_factory=list)

    def offset(self, at: int) -> int:
        place = bisect_right(self.changes, at, key=lambda change: change.at)
        return self.changes[place - 1].after if place else self.changes[0].before

    def walk(self, first: int, end: int, step: int) -> Iterator[tuple[int, int]]:
        """Times with what is shown then."""
        turns = [change.at for change in self.changes if first < change.at < end]
        for start, stop in itertools.pairwise([first, *turns, end]):
            offset = self.offset(start)
            for at in range(start, stop, step):
                yield at, at + offset

    def shown_at(self, local: int) -> int:
        """When the clocks show a local time first; when they jump over it, the first moment after the jump."""
        near = [change for change in self.changes if abs(change.at - local) < 3 * DAY]
        offsets = {self.offset(local - 2 * DAY), *(change.after for change in near)}
        times = [local - offset for offset in offsets if self.offset(local - offset) == offset]
        times = times or [change.at for change in near if change.at + change.before <= local < change.at + change.after]
        return min(times)


OFFSETS = """
    select extract(epoch from (to_timestamp(at) at time zone zone) - (to_timestamp(at) at time zone 'UTC'))::int
    from unnest(%s::text[], %s::bigint[]) with ordinality as asked (zone, at, number)
    order by number"""

STRETCHES = """
    select zone, at - 43200, at, "before", "after"
    from (
        select zone, at, lag(shown) over (partition by zone order by at) as "before", shown as "after"
        from unnest(%s::text[]) zone,
        generate_series(%s::bigint, %s::bigint, 43200) at,
        lateral (select extract(
            epoch from (to_timestamp(at) at time zone zone) - (to_timestamp(at) at time zone 'UTC')
        )::int) offsets (shown)
    ) looks
    where "before" <> "after"
    order by zone, at"""


@pytest.fixture(scope="module")
def clocks(session: Session) -> dict[str, Clock]:
    """The clocks of all zones: offsets are looked at every twelve hours, and changes are found by halving."""
    first, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (YEARS[0] - 1, YEARS[1] + 2))
    stretches = session.rows(STRETCHES, ZONES, first, end)
    zones = [zone for zone, *_ in stretches]
    low, high = ([stretch[place] for stretch in stretches] for place in (1, 2))
    while high[0] - low[0] > 1:
        middle = [(one + other) // 2 for one, other in zip(low, high, strict=True)]
        for place, offset in enumerate(session.column(OFFSETS, zones, middle)):
            (high if offset == stretches[place][4] else low)[place] = middle[place]
    clocks = {zone: Clock(zone) for zone in ZONES}
    for (zone, _, _, before, after), at in zip(stretches, high, strict=True):
        assert at % MINUTE == before % MINUTE == after % MINUTE == 0, (zone, at)
        clocks[zone].changes.append(Change(zone, at, before, after))
    return clocks


def test_the_clocks_are_those_that_the_server_has(session: Session, clocks: dict[str, Clock]) -> None:
    dice = random.Random(SEED)
    asked = [(dice.choice(ZONES), dice.randrange(-300_000_000, 1_760_000_000)) for _ in range(2_000 * MORE)]
    zones, times = zip(*asked, strict=True)
    assert session.column(OFFSETS, list(zones), list(times)) == [clocks[zone].offset(at) for zone, at in asked]
    assert [change.shift for change in clocks["Pacific/Apia"].changes if abs(change.shift) > 2 * HOUR] == [DAY]
    assert {abs(change.shift) for change in clocks["Antarctica/Troll"].changes} == {2 * HOUR}
    assert all(len(clock.changes) > 1 for clock in clocks.values())


# What an expression matches, read once more and simply


class Matcher:
    """Which minutes of the calendar an expression matches, and which seconds of them."""

    def __init__(self, cron: str) -> None:
        fields = cron.split()
        if len(fields) == 5:
            fields.insert(0, "0")
        second, minute, hour, self._day, month, self._weekday = fields
        self.repeats = minute[0] == "*" or hour[0] == "*"
        self.seconds = sorted(self._values(second, 0, 59))
        self._minutes_of_day = {60 * h + m for h in self._values(hour, 0, 23) for m in self._values(minute, 0, 59)}
        self._months = self._values(month, 1, 12)
        self._known: dict[int, bool] = {}

    def __call__(self, local: int) -> bool:
        return local % DAY // MINUTE in self._minutes_of_day and self._on_day(local // DAY)

    @staticmethod
    def _values(text: str, low: int, high: int) -> set[int]:
        found: set[int] = set()
        for item in text.split(","):
            ends, _, step = item.partition("/")
            first, _, last = ends.partition("-")
            if ends == "*":
                first, last = str(low), str(high)
            found.update(range(int(first), int(last or (high if step else first)) + 1, int(step or 1)))
        return found

    def _on_day(self, number: int) -> bool:
        if number not in self._known:
            self._known[number] = self._matches_day(number)
        return self._known[number]

    def _matches_day(self, number: int) -> bool:
        date = datetime.fromtimestamp(number * DAY, UTC)
        is_last = datetime.fromtimestamp((number + 1) * DAY, UTC).day == 1
        weekday = (number + 4) % 7
        by_day = is_last if self._day == "L" else date.day in self._values(self._day, 1, 31)
        if "#" in self._weekday:
            by_weekday = self._weekday == f"{weekday}#{(date.day + 6) // 7}"
        else:
            by_weekday = weekday in self._values(self._weekday, 0, 6)
        both = self._day != "*" and self._weekday != "*"
        return date.month in self._months and (by_day or by_weekday if both else by_day and by_weekday)


def times_of_repeating(clock: Clock, matches: Matcher, first: int, end: int) -> list[int]:
    """All times that show what matches."""
    minutes = [at for at, local in clock.walk(first, end, MINUTE) if matches(local)]
    return [at + second for at in minutes for second in matches.seconds]


def times_of_fixed(clock: Clock, matches: Matcher, first: int, end: int) -> list[int]:
    """What matches, where it is shown first; and one time for what a jump leaves out."""
    found: set[int] = set()
    shown: set[int] = set()
    previous: int | None = None
    for at, local in clock.walk(first - 26 * HOUR, end, MINUTE):
        if previous is not None and any(map(matches, range(previous + MINUTE, local, MINUTE))):
            found.add(at)
        if local not in shown and matches(local):
            found.update(at + second for second in matches.seconds)
        shown.add(local)
        previous = local
    return sorted(at for at in found if at >= first)


# Expressions and times close around changes


class Generator:
    """Changes, expressions that name times close to them, and times to start from, by a seed."""

    def __init__(self, clocks: dict[str, Clock], seed: int) -> None:
        self._random = random.Random(seed)
        self._changes = [clock.changes for clock in clocks.values()]
        self._large = [change for change in itertools.chain(*self._changes) if abs(change.shift) > 2 * HOUR]

    def change(self) -> Change:
        # Every zone as often as another; dates that were left out or came twice are few, and come again and again.
        return self._random.choice(self._large if self._random.random() < 0.1 else self._random.choice(self._changes))

    def expression(self, change: Change, *, repeats: bool | None = None) -> str:
        local = change.at + self._random.choice([change.before, change.after])
        if repeats is None:
            repeats = self._random.random() < 0.5
        minute, hour = self._minute(), self._hour(local)
        if repeats:
            stars = self._random.choice([(True, False), (False, True), (True, True)])
            minute = self._star(60) if stars[0] else minute
            hour = self._star(24) if stars[1] else hour
        cron = f"{minute} {hour} {self._day(local + self._random.choice([-DAY, 0, 0, 0, DAY]))}"
        seconds = ["*/20", "59", "5,0", "0"]
        return f"{self._random.choice(seconds)} {cron}" if self._random.random() < 0.15 else cron

    def window(self, change: Change) -> tuple[int, int]:
        """From before or soon after a change to a while after, in whole minutes."""
        last = change.at + abs(change.shift) + HOUR
        first = self._random.choice([change.at, last]) - self._random.randrange(5 * 60) * MINUTE
        return first, last + self._random.randrange(1, 4 * 60) * MINUTE

    def starts(self, change: Change, count: int) -> list[float]:
        """Times around a change, in order."""
        reach = abs(change.shift) + 3 * HOUR
        edges = [change.at + edge for edge in (0, change.shift, -change.shift)]
        starts = {edge + self._random.choice([-1, -0.5, 0, 0.5, 1, MINUTE]) for edge in edges}
        while len(starts) < count:
            start = change.at + self._random.randint(-reach, reach)
            starts.add(start - start % self._random.choice([1, 1, MINUTE, 30 * MINUTE]))
        return sorted(starts)

    def _star(self, width: int) -> str:
        return self._random.choice(
            ["*", "*", f"*/{self._random.randint(2, width // 2)}", "*/30" if width > 30 else "*/2"]
        )

    def _minute(self) -> str:
        one, other = sorted(self._random.sample(range(60), 2))
        step = self._random.choice([7, 10, 15])
        stepped = [
            *([f"{one}-{other}/{step}"] if step <= other - one else []),
            *([f"{one}/{step}"] if step <= 59 - one else []),
        ]
        return self._random.choice(["0", "0", "30", f"{one}", f"{other},{one}", *stepped])

    def _hour(self, local: int) -> str:
        one, other = sorted((local // HOUR + self._random.randint(-3, 3)) % 24 for _ in range(2))
        if one == other:
            return str(one)
        step = self._random.randint(1, min(3, other - one))
        return self._random.choice([f"{one}", f"{other}", f"{one},{other}", f"{one}-{other}/{step}", f"{one}/{step}"])

    def _day(self, local: int) -> str:
        date = datetime.fromtimestamp(local, UTC)
        weekday = (local // DAY + 4) % 7
        day = self._random.choice([f"{date.day}", f"1,{date.day}", "L", f"{1 + date.day % 2}/2"])
        of_week = self._random.choice([f"{weekday}", f"{weekday}#{(date.day + 6) // 7}", "0", "1-5"])
        month = self._random.choice([f"{date.month}", "*", "*/2"])
        choices = ["* * *", f"{day} {month} *", f"* {month} {of_week}", f"{day} {month} {of_week}"]
        return self._random.choices(choices, [60, 15, 15, 10])[0]


NEXT = """
    select (
        select array_agg(extract(epoch from at)::bigint)
        from underway.cron_preview(asked.cron, asked.zone, to_timestamp(asked.after), asked.count) at
    )
    from unnest(%s::text[], %s::text[], %s::float8[], %s::int[])
        with ordinality as asked (cron, zone, after, count, number)
    order by asked.number"""


def next_times(session: Session, asked: Sequence[tuple[str, str, float, int]]) -> list[list[int]]:
    """So many next times of each expression in a zone after a time."""
    crons, zones, starts, counts = (list(column) for column in zip(*asked, strict=True))
    return [times or [] for times in session.column(NEXT, crons, zones, list(map(float, starts)), counts)]


def shown(clock: Clock, at: float) -> str:
    local = datetime.fromtimestamp(at + clock.offset(int(at // 1)), UTC).replace(tzinfo=None)
    return f"{local.isoformat(' ')} ({clock.offset(int(at // 1)) / HOUR:+g} h)"


# What always holds


@dataclass(frozen=True)
class Sample:
    """An expression, times to start from, in order, and the next time after each; None where none comes."""

    cron: str
    zone: str
    starts: list[float]
    nexts: list[int | None]


def samples(session: Session, clocks: dict[str, Clock], seed: int, count: int) -> list[Sample]:
    generator = Generator(clocks, seed)
    drawn = []
    for _ in range(count):
        change = generator.change()
        drawn.append((generator.expression(change), change.zone, generator.starts(change, 12)))
    asked = [(cron, zone, start, 1) for cron, zone, starts in drawn for start in starts]
    answers = iter(next_times(session, asked))
    return [
        Sample(cron, zone, starts, [next(iter(next(answers)), None) for _ in starts]) for cron, zone, starts in drawn
    ]


def test_the_next_time_is_always_later(session: Session, clocks: dict[str, Clock]) -> None:
    for sample in samples(session, clocks, SEED, 300 * MORE):
        for start, at in zip(sample.starts, sample.nexts, strict=True):
            assert at is None or at > start, f"{sample.cron!r} {sample.zone} after {start}: {at}"


def test_whoever_asks_later_gets_no_earlier_time_and_until_it_comes_the_same(
    session: Session, clocks: dict[str, Clock]
) -> None:
    for sample in samples(session, clocks, SEED + 1, 300 * MORE):
        never = float("inf")
        pairs = [(start, never if at is None else at) for start, at in zip(sample.starts, sample.nexts, strict=True)]
        for (start, at), (later, at_later) in itertools.combinations(pairs, 2):
            what = f"{sample.cron!r} {sample.zone} after {start}: {at}; after {later}: {at_later}"
            assert at <= at_later, what
            assert later >= at or at_later == at, what


def test_the_times_in_a_row_are_those_that_are_asked_for_one_by_one(session: Session, clocks: dict[str, Clock]) -> None:
    generator = Generator(clocks, SEED + 2)
    changes = [generator.change() for _ in range(400 * MORE)]
    asked = [(generator.expression(change), change.zone, generator.window(change)[0] - 1, 8) for change in changes]
    rows = next_times(session, asked)
    single = [
        (cron, zone, start, 1)
        for (cron, zone, start, _), row in zip(asked, rows, strict=True)
        for start in [start, *row[:-1]]
    ]
    assert [at for (at,) in next_times(session, single)] == list(itertools.chain(*rows))


# What comes around a change


def compare_around_changes(session: Session, clocks: dict[str, Clock], *, repeats: bool, seed: int, count: int) -> None:
    """See that what comes in a window around a change is what a walk through the window finds."""
    generator = Generator(clocks, seed)
    expected, asked = [], []
    for _ in range(count):
        change = generator.change()
        cron = generator.expression(change, repeats=repeats)
        matches = Matcher(cron)
        assert matches.repeats == repeats
        first, end = generator.window(change)
        walk = times_of_repeating if repeats else times_of_fixed
        times = walk(clocks[change.zone], matches, first, end)[:999]
        expected.append((change, times, end))
        asked.append((cron, change.zone, first - 1, len(times) + 1))

    for (change, times, end), (cron, zone, after, _), got in zip(
        expected, asked, next_times(session, asked), strict=True
    ):
        within = [at for at in got if at < end][: len(times) + (len(times) < 999)]
        if within != times:
            clock = clocks[zone]
            pytest.fail(
                f"{cron!r} in {zone} after {shown(clock, after)}; at {shown(clock, change.at)} clocks move by"
                f" {change.shift / HOUR:+g} h (seed {seed})\n"
                f"  too few:  {[shown(clock, at) for at in times if at not in within][:5]}\n"
                f"  too many: {[shown(clock, at) for at in within if at not in times][:5]}"
            )


def test_a_repeating_expression_gives_exactly_the_times_that_show_what_matches(
    session: Session, clocks: dict[str, Clock]
) -> None:
    compare_around_changes(session, clocks, repeats=True, seed=SEED + 3, count=600 * MORE)


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("*/10 1 * 3 L0", "Europe/London"),
        ("*/10 2 * 3 7L", "Europe/Berlin"),
        ("*/30 2 * 3 0#2", "America/New_York"),
    ],
)
def test_a_repeating_expression_that_clocks_jump_over_in_every_year_never_comes(
    session: Session, cron: str, zone: str
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    session.run("set statement_timeout = '500 ms'")
    try:
        assert next_times(session, [(cron, zone, start, 1)]) == [[]]
    finally:
        session.run("reset statement_timeout")


def test_a_fixed_expression_gives_what_matches_once_and_what_clocks_jump_over_once(
    session: Session, clocks: dict[str, Clock]
) -> None:
    compare_around_changes(session, clocks, repeats=False, seed=SEED + 4, count=800 * MORE)


# Once a day


# From when on, in years; the days that were left out in Apia and Kwajalein, and the one that came twice there.
PERIODS = {
    "Africa/Cairo": 2023,
    "Africa/Casablanca": 2018,
    "America/Juneau": 1983,
    "America/Sao_Paulo": 2016,
    "Asia/Gaza": 2010,
    "Asia/Tehran": 2020,
    "Pacific/Apia": 2010,
    "Pacific/Kwajalein": 1992,
}
DAYS = 1_000


def daily_times(clock: Clock, dice: random.Random, first: int) -> list[int]:
    """Times of day in minutes: some that clocks jump over or show twice in this period, and one at random."""
    changes = [change for change in clock.changes if first <= change.at < first + DAYS * DAY]
    times = {dice.randrange(24 * 60), 0}
    for change in dice.sample(changes, min(2, len(changes))):
        low, high = sorted([change.at + change.before, change.at + change.after])
        times.add((low + dice.randrange(high - low)) % DAY // MINUTE)
    return sorted(times)


@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_time_comes_once_for_each_date(session: Session, clocks: dict[str, Clock], zone: str) -> None:
    clock, dice = clocks[zone], random.Random(f"{SEED} {zone}")
    years = range(*YEARS, 2) if LONG else [PERIODS.get(zone, 2008)]
    if zone == "Pacific/Kwajalein":
        years = sorted({*years, 1969})
    for year in years:
        first = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        dates = [first + number * DAY for number in range(1, DAYS)]
        for minute in daily_times(clock, dice, first):
            runs = [clock.shown_at(date + minute * MINUTE) for date in dates]
            # Only midnight can come for two dates at once: the one that was left out, and the next.
            distinct = sorted(set(runs))
            assert len(distinct) == len(dates) or minute == 0
            cron = f"{minute % 60} {minute // 60} * * *"
            assert next_times(session, [(cron, zone, distinct[0] - 1, len(distinct))]) == [distinct], cron


def test_a_date_that_was_left_out_has_its_run_at_the_first_moment_of_the_next(session: Session) -> None:
    asked = ("0 12 * * *", "Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC).timestamp(), 4)
    (times,) = next_times(session, [asked])
    utc = [datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes") for at in times]
    # 29 December at UTC-10; from 31 December on at UTC+14.
    assert utc == [
        "2011-12-29 22:00+00:00",
        "2011-12-30 10:00+00:00",
        "2011-12-30 22:00+00:00",
        "2011-12-31 22:00+00:00",
    ]


# Whoever asks


@pytest.mark.parametrize(
    ("zone", "dates", "intervals"),
    [
        ("Pacific/Chatham", "SQL, DMY", "sql_standard"),
        ("America/New_York", "German", "postgres_verbose"),
        ("Asia/Kathmandu", "Postgres, MDY", "iso_8601"),
        # Here a day was left out: intervals of a day and of 24 hours differ.
        ("Pacific/Apia", "ISO, YMD", "postgres"),
        ("Pacific/Kwajalein", "ISO, MDY", "postgres"),
    ],
)
def test_the_settings_of_a_session_change_nothing(
    database_of_module: str, session: Session, clocks: dict[str, Clock], zone: str, dates: str, intervals: str
) -> None:
    generator = Generator(clocks, SEED + 5)
    changes = [generator.change() for _ in range(300 * MORE)]
    asked = [(generator.expression(change), change.zone, generator.starts(change, 4)[1], 3) for change in changes]
    with Session(database_of_module) as odd:
        odd.run(f"set timezone = '{zone}'; set datestyle = '{dates}'; set intervalstyle = '{intervals}'")
        assert next_times(odd, asked) == next_times(session, asked)
