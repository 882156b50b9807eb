"""The files of sql/functions keep the house rules: header, room, calls, comments, tests.

A rule is a function of one file, and one test that lists all files that break it.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.py.support import listed

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "sql" / "functions").glob("*/*.sql"))

# The tables that the files of a room may write. A table belongs to the lowest room that may write it.
WRITABLE: dict[str, set[str]] = {
    "00_base": set(),
    "10_cron": set(),
    "20_queue": {"queue", "job", "setting"},
    "24_worker": {"worker"},
    "28_watermark": {"queue_priority", "watermark"},
    "30_statistics": {"uncounted", "task_stat", "stat_position", "queue_depth"},
    "32_limit": {"task", "ready_key", "paused_key", "token_bucket"},
    "34_event": {"event", "audit"},
    "36_history": {"task", "task_history", "unique_reservation", "uncounted", "stat_position", "moved_task"},
    "40_dependency": {"task", "batch", "batch_task", "dependent", "batch_to_reevaluate"},
    "44_enqueue": {"task", "unique_reservation", "queue_length"},
    "48_claim": {"task"},
    "52_settle": {"task", "deferred_renewal"},
    "56_operate": {
        "task",
        "task_history",
        "queue",
        "queue_priority",
        "watermark",
        "unique_reservation",
        "ready_key",
        "paused_key",
        "token_bucket",
        "queue_length",
    },
    "58_move": {"task", "unique_reservation", "outgoing_move", "incoming_move", "moved_task"},
    "60_batch": {"batch"},
    "64_schedule": {"schedule"},
    "72_upkeep": {"worker", "queue", "task", "upkeep", "stat_position", "queue_depth", "blocked_queue", "last_count"},
    "80_view": set(),
    "82_search": set(),
    "84_report": set(),
    "90_role": {"grants"},
}
HOME = {
    table: min(room for room, tables in WRITABLE.items() if table in tables)
    for table in set().union(*WRITABLE.values())
}
HOME["task"] = "28_watermark"  # the hot table belongs to a range of rooms; the watermark reads it

COMMENT_OR_STRING = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
CREATED = re.compile(r"^create (?:or replace )?(function|view) underway\.(\w+)", re.MULTILINE)
COMMENTED = re.compile(r"^comment on (function|view) underway\.(\w+)", re.MULTILINE)
WRITTEN = re.compile(r"\b(?:insert into|update|delete from|truncate) underway\.(%I|\w+)")
GRANTED = re.compile(r"^revoke |'grant ", re.MULTILINE)
READ = re.compile(r"\b(?:from|join|using) underway\.(\w+)\b(?!\()")
CALLED = re.compile(r"(?<!insert into )\bunderway\.(\w+)\(|\b(?:from|join) underway\.(\w+)\b")
RAISED = re.compile(r"errcode = '(UW\d{3})'")
LISTED = re.compile(r"\('(UW\d{3})', '(\w+)',")


def every_file(rule: Callable[[Path], None]) -> Callable[[], None]:
    """A test that fails with the list of the files that break the rule, each with the assertion that failed."""

    def test() -> None:
        offenders: list[str] = []
        for file in FILES:
            with listed(offenders, file.relative_to(ROOT)):
                rule(file)
        assert not offenders, "\n".join(offenders)

    test.__name__ = rule.__name__
    return test


def room(file: Path) -> str:
    return file.parent.name


def name(file: Path) -> str:
    """The function that the file holds. One named enqueue_many_objects or dequeue_queue holds a second form of it."""
    return "dequeue" if file.stem == "dequeue_queue" else file.stem.removesuffix("_objects")


def header(file: Path) -> str:
    """The comment at the head of the file, without its dashes."""
    lines = file.read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(line.removeprefix("--").strip() for line in lines[:end])


def items(file: Path, label: str) -> list[str] | None:
    """What the header lists after a label; None without the label."""
    found = re.findall(rf"^{label}: ([^.]*)\.$", header(file), re.MULTILINE)
    assert len(found) == header(file).count(f"{label}:") <= 1, f"{label}: is one list with a full stop"
    return re.split(r",\s+", found[0]) if found else None


def body(file: Path) -> str:
    """The file without its comments."""
    return COMMENT_OR_STRING.sub(lambda m: "" if m[0].startswith("--") else m[0], file.read_text())


def code(file: Path) -> str:
    """The file without its comments and its strings, for a hint may name any function."""
    return COMMENT_OR_STRING.sub("", file.read_text())


def writes(file: Path) -> set[str]:
    written = {
        # A partition is its table; what dynamic SQL names are partitions of the history.
        re.sub(r"^(task_history_\w+|%I)$", "task_history", table)
        for table in WRITTEN.findall(body(file))
    }
    return written | {"grants"} if GRANTED.search(body(file)) else written


def reads(file: Path) -> set[str]:
    """The tables that the file reads."""
    return {re.sub(r"^task_history_\w+$", "task_history", table) for table in READ.findall(code(file))} & set(HOME)


def created(file: Path) -> set[str]:
    """The functions and views that the file creates."""
    return {name for _, name in CREATED.findall(file.read_text())}


def called(file: Path) -> set[str]:
    """The functions that the file calls and the views that it reads."""
    # A table may have the name of a function: schedule.
    return {
        function or relation
        for function, relation in CALLED.findall(code(file))
        if (function or relation) in homes() and relation not in HOME
    }


def calls(file: Path) -> set[str]:
    """What `Calls:` lists: without the functions that the file creates itself."""
    return called(file) - created(file)


@functools.cache
def homes() -> dict[str, set[Path]]:
    """The files that create each function and each view."""
    found: dict[str, set[Path]] = {}
    for file in FILES:
        for name in created(file):
            found.setdefault(name, set()).add(file)
    return found


def callees(file: Path) -> set[Path]:
    """The files of the functions that the file calls and of the views that it reads."""
    return {home for name in called(file) for home in homes()[name]}


def raised_below(file: Path) -> set[str]:
    """The codes that are raised in the file or in the files that it calls, directly or not."""
    seen: set[Path] = set()
    ahead = {file}
    while ahead:
        seen |= ahead
        ahead = {callee for each in ahead for callee in callees(each)} - seen
    return {raised for each in seen for raised in RAISED.findall(body(each))}


def subject(test: Path) -> str | None:
    """The stem of the file that a pgTAP file is about: enqueue_many_x is not about enqueue."""
    stems = [file.stem for file in FILES if room(file) == room(test)]
    return max((stem for stem in stems if f"{test.stem}_".startswith(f"{stem}_")), key=len, default=None)


def test_there_are_files_to_check() -> None:
    assert len(FILES) > 50


@every_file
def test_the_header_names_the_function_and_says_what_it_means(file: Path) -> None:
    sentence, *_ = header(file).split("\n\n")
    assert re.fullmatch(rf"{name(file)}: [^\s].*\.", sentence, re.DOTALL)


@every_file
def test_beside_its_function_the_file_holds_private_ones_only(file: Path) -> None:
    expected = set() if room(file) == "90_role" else {name(file)}
    assert expected <= created(file)
    assert all(beside.startswith("_") for beside in created(file) - expected)


@every_file
def test_the_header_lists_what_the_file_writes(file: Path) -> None:
    assert set(items(file, "Writes") or ()) == (writes(file) or {"nothing"})


@every_file
def test_the_file_writes_only_tables_of_its_room(file: Path) -> None:
    assert writes(file) <= WRITABLE[room(file)]


@every_file
def test_the_file_reads_no_table_of_a_room_above_its_own(file: Path) -> None:
    assert {table for table in reads(file) if HOME[table] > room(file)} == set()


@every_file
def test_the_header_lists_what_the_file_calls(file: Path) -> None:
    assert items(file, "Calls") == (sorted(calls(file)) or ["nothing"])


@every_file
def test_the_lists_of_the_header_are_in_one_order(file: Path) -> None:
    found = re.findall(r"^(Writes|Calls|Raises): ", header(file), re.MULTILINE)
    assert found == [label for label in ("Writes", "Calls", "Raises") if label in found]


@every_file
def test_the_header_lists_what_the_file_raises(file: Path) -> None:
    translate_errors = dict(LISTED.findall((ROOT / "sql/functions/00_base/error_code.sql").read_text()))
    listed = items(file, "Raises") or []
    codes = [refusal.split()[0] for refusal in listed]
    assert listed == [f"{code} {translate_errors[code]}" for code in sorted(set(codes))]
    assert set(RAISED.findall(body(file))) <= set(codes), "raised, and not listed"
    assert set(codes) <= raised_below(file), "listed, and raised neither here nor below"


@every_file
def test_the_file_calls_no_room_above_its_own(file: Path) -> None:
    assert [callee for callee in callees(file) if room(callee) > room(file)] == []


@every_file
def test_whatever_is_created_has_its_comment(file: Path) -> None:
    text = file.read_text()
    assert Counter(COMMENTED.findall(text)) == Counter(CREATED.findall(text))


@every_file
def test_any_client_can_run_the_file_as_it_is(file: Path) -> None:
    assert "\\" not in code(file), "a command of psql"


@every_file
def test_a_database_with_any_encoding_can_install_the_file(file: Path) -> None:
    assert file.read_text().isascii()


@every_file
def test_no_line_is_too_long_to_read_side_by_side(file: Path) -> None:
    assert not [line for line in file.read_text().splitlines() if len(line) > 128]


@every_file
def test_the_function_has_its_pgtap_file(file: Path) -> None:
    assert file.stem in {subject(test) for test in (ROOT / "tests/sql" / room(file)).glob("*.sql")}


def test_the_manifest_describes_each_room_in_order_and_names_its_public_functions() -> None:
    manifest = (ROOT / "sql/functions/README.md").read_text()
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", manifest, re.MULTILINE | re.DOTALL))
    assert list(sections) == sorted({room(file) for file in FILES})
    public = {file for file in FILES if not file.stem.startswith("_")}
    assert [file.stem for file in sorted(public) if f"`{name(file)}`" not in sections[room(file)]] == []
