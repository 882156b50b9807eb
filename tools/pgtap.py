"""Find pgTAP and load it into a database.

pgTAP is plain SQL, so a server that does not offer it as an extension can run its file. Run as a program, this prints
the path of that file.
"""

import re
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = Path("/usr/share/postgresql")
UNPACKED = ROOT / ".cache" / "debian"
SCRIPT = re.compile(r"pgtap--(\d+(?:\.\d+)+)\.sql")


class PgTapError(RuntimeError):
    """pgTAP is not installed, and could not be downloaded."""


def find() -> Path:
    """Return the file of the newest installed pgTAP. If none is installed, that of tools/debian."""
    found = _newest(INSTALLED) or _newest(UNPACKED)
    if found is None:
        unpacking = subprocess.run([ROOT / "tools" / "debian"], capture_output=True, text=True)
        found = _newest(UNPACKED)
        if found is None:
            reason = unpacking.stderr.strip().rpartition("\n")[2]
            raise PgTapError(
                f"pgTAP was not found; install it (Debian: apt-get install postgresql-<version>-pgtap) [{reason}]"
            )
    return found


def load(connection: psycopg.Connection) -> None:
    """Load pgTAP into the schema pgtap of the connection's database."""
    connection.execute("create schema pgtap")
    offered = connection.execute("select from pg_available_extensions where name = 'pgtap'")
    if offered.fetchone():
        connection.execute("create extension pgtap schema pgtap")
        return
    lines = find().read_text().splitlines(keepends=True)
    # The file is written for an extension. Its psql commands prevent other uses, so they are left out.
    script = "".join(line for line in lines if not line.startswith("\\"))
    with connection.transaction():
        connection.execute("set local search_path = pgtap")
        connection.execute(script.encode())


def _newest(directory: Path) -> Path | None:
    def version(script: Path) -> list[int]:
        return [int(number) for number in script.stem.removeprefix("pgtap--").split(".")]

    scripts = [path for path in directory.rglob("pgtap--*.sql") if SCRIPT.fullmatch(path.name)]
    return max(scripts, key=version, default=None)


if __name__ == "__main__":
    try:
        print(find())
    except PgTapError as error:
        sys.exit(str(error))
