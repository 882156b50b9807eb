"""Load PL/Proxy into a database: as its server offers it, else Debian's package for the version of the server."""

import shutil
import subprocess
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".cache" / "plproxy"


class PlProxyError(RuntimeError):
    """PL/Proxy is not installed for this server, and could not be downloaded."""


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
    package = f"postgresql-{major}-plproxy"
    root = UNPACKED / str(major)
    if not root.is_dir():
        unpacking = subprocess.run([ROOT / "tools" / "apt-unpack", package, root], capture_output=True, text=True)
        if unpacking.returncode:
            reason = unpacking.stderr.strip().rpartition("\n")[2]
            raise PlProxyError(f"PL/Proxy was not found; install it (Debian: apt-get install {package}) [{reason}]")
    (library,) = root.rglob("plproxy.so")
    (script,) = (path for path in root.rglob("plproxy--*.sql") if path.stem.count("--") == 1)
    return library, script
