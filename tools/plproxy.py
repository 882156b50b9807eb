"""Load PL/Proxy into a database: as its server offers it, else as tools/debian has unpacked it."""

import shutil
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".cache" / "debian"


class PlProxyError(RuntimeError):
    """PL/Proxy is not installed for this server."""


def load(connection: psycopg.Connection, directory: Path) -> None:
    """Create the language in the connection's database. The server must be able to read files of `directory`."""
    if connection.execute("select from pg_available_extensions where name = 'plproxy'").fetchone():
        connection.execute("create extension plproxy")
        return
    major = connection.info.server_version // 10_000
    library, script = _find(major)
    # The server's account may not enter the directory of this file.
    copy = shutil.copy(library, directory)
    try:
        connection.execute(script.read_text().replace("AS 'plproxy'", f"AS '{copy}'").encode())
    except psycopg.Error as error:
        raise PlProxyError(f"the server does not load the PL/Proxy of Debian [{error}]") from None


def _find(major: int) -> tuple[Path, Path]:
    """The library for this major version of PostgreSQL, and the script of the extension."""
    library = UNPACKED / f"usr/lib/postgresql/{major}/lib/plproxy.so"
    if not library.is_file():
        package = f"postgresql-{major}-plproxy"
        raise PlProxyError(
            f"no PL/Proxy was found for PostgreSQL {major}: run tools/debian, or install it "
            f"(Debian: apt-get install {package})"
        )
    scripts = UNPACKED.glob(f"usr/share/postgresql/{major}/extension/plproxy--*.sql")
    (script,) = (path for path in scripts if path.stem.count("--") == 1)
    return library, script
