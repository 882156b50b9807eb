"""Generate the plain code from the async code: `make sync-client`. With --check, fail where it is out of date.

The async modules are written by hand. The rules are few: `async` and `await` go, names are replaced by the table, and
whole lines between `# async only` and `# end` are left out.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MODULES = (
    "underway_pg/connections/_async.py",
    "underway_pg/client/_async.py",
    "underway_pg/client/events/_async.py",
)

NAMES = {
    "AsyncClient": "Client",
    "AsyncConnection": "Connection",
    "AsyncConnectionPool": "ConnectionPool",
    "AsyncCursor": "Cursor",
    "AsyncIterator": "Iterator",
    "AsyncPool": "Pool",
    "AsyncSlots": "Slots",
    "AsyncWaits": "Waits",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "_async": "_sync",
    "aclosing": "closing",
    "answer_within": "answer_within_sync",
    "asynccontextmanager": "contextmanager",
    "asyncio": "threading",
    "connect_async": "connect",
    "execute_async": "execute",
    "read_events_async": "read_events",
    "wait_for_event_async": "wait_for_event",
}

# In docstrings and comments.
PHRASES = {
    "Awaitable[Any]": "Any",
    "An async connection": "A connection",
    "for async code": "for plain code",
    "for asyncio": "for plain code",
    " It belongs to the event\n    loop on which it is used first.": " It is safe in several\n    threads.",
    "a task or\n    a thread in the background": "a thread\n    in the background",
    "psycopg_pool.AsyncConnectionPool": "psycopg_pool.ConnectionPool",
    "psycopg.AsyncConnection": "psycopg.Connection",
    "`async with`": "`with`",
    "A cancellation": "An interruption",
    "# a cancellation": "# an interruption",
}

HEADER = "# Generated from _async.py by tools/async_to_sync.py: change that one, then run `make sync-client`.\n\n"

ASYNC_ONLY = re.compile(r"^ *# async only\n.*?^ *# end\n", re.MULTILINE | re.DOTALL)


def convert(source: str) -> str:
    """The plain form of an async module, formatted."""
    source = ASYNC_ONLY.sub("", source)
    lines = source.splitlines(keepends=True)
    changes: list[tuple[int, int, int, str]] = []  # line, from column, to column, text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (line, start), (_, end) = token.start, token.end
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            changes.append((line, start, end + 1, ""))
        elif token.type == tokenize.NAME and token.string in NAMES:
            changes.append((line, start, end, NAMES[token.string]))
        elif token.type == tokenize.STRING and (name := token.string.strip("\"'")) in NAMES:
            changes.append((line, start, end, token.string.replace(name, NAMES[name])))
    for line, start, end, text in sorted(changes, reverse=True):
        old = lines[line - 1]
        lines[line - 1] = old[:start] + text + old[end:]
    text = "".join(lines)
    for phrase, plain in PHRASES.items():
        text = text.replace(phrase, plain)
    return _formatted(HEADER + text)


def _formatted(text: str) -> str:
    for command in (["check", "--fix-only", "--select", "I,F401", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(ROOT / "underway_pg/_sync.py"), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text


def main() -> int:
    stale = 0
    for module in MODULES:
        source = ROOT / module
        target = source.with_name("_sync.py")
        text = convert(source.read_text(encoding="utf-8"))
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv[1:]:
            print(f"{target.relative_to(ROOT)} is out of date: run `make sync-client`", file=sys.stderr)
            stale += 1
        else:
            target.write_text(text, encoding="utf-8")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
