"""PgBouncer in transaction mode, before one server at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.chaos.cluster import directory, free_port, libraries, program
from tests.py.support import wait_until


@dataclass(frozen=True)
class PgBouncer:
    """A running one. Which server it leads to is in the file `settings`, which it reads again after a SIGHUP."""

    port: int
    process: int
    settings: Path

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@localhost:{self.port}/postgres"

    def wait(self) -> None:
        """Wait until it answers, for which it needs its server."""
        wait_until(self._answers, "PgBouncer answers", seconds=60.0)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.dsn, connect_timeout=5).close()
            return True
        return False


@contextlib.contextmanager
def pgbouncer(server_port: int, owner: int) -> Iterator[PgBouncer]:
    """PgBouncer, as the account `owner`: it refuses to be root."""
    found = program("pgbouncer", "libevent-2.1-7", "libc-ares2", "pgbouncer")
    port = free_port()
    with directory() as path:
        # Copied to where the account of the server may read, wherever this repository lies.
        binary = shutil.copy(found, path)
        for folder in libraries():
            shutil.copytree(folder, path / "lib", dirs_exist_ok=True)
        (path / "users").write_text('"postgres" ""\n')
        settings = path / "pgbouncer.ini"
        settings.write_text(
            f"""[databases]
            postgres = host=127.0.0.1 port={server_port}
            [pgbouncer]
            listen_addr = localhost
            listen_port = {port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {path / "users"}
            pool_mode = transaction
            default_pool_size = 20
            max_client_conn = 500
            server_login_retry = 1
            """.replace("            ", "")
        )
        for each in (path, settings):
            os.chown(each, owner, -1)
        with subprocess.Popen(
            [binary, settings], stderr=subprocess.DEVNULL, user=owner, env={"LD_LIBRARY_PATH": str(path / "lib")}
        ) as process:
            try:
                yield PgBouncer(port, process.pid, settings)
            finally:
                process.terminate()
