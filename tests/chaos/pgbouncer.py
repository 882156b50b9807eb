"""PgBouncer in transaction mode, before one server at a time."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.chaos.cluster import directory, free_port
from tests.debian import program
from tests.py.support import wait_until
from underway_pg.embedded import _server_account


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
def pgbouncer(server_port: int) -> Iterator[PgBouncer]:
    """PgBouncer, as the account of the servers: it refuses to be root, and Patroni has to lead it.

    Raises CannotRun if it is not installed.
    """
    found = program("pgbouncer", "pgbouncer")
    account = _server_account()
    port = free_port()
    with directory() as path:
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
            {f"user = {account.pw_name}" if account else ""}
            """.replace("            ", "")
        )
        if account:
            for each in (path, settings):
                os.chown(each, account.pw_uid, -1)
        with subprocess.Popen([found, settings], stderr=subprocess.DEVNULL) as process:
            try:
                yield PgBouncer(port, process.pid, settings)
            finally:
                process.terminate()
