"""Data directories of the servers that tests start: copies of one that initdb made, which takes a tenth of its time."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path

from underway_pg import embedded

MADE = Path(__file__).parents[1] / ".cache" / "clusters"
initdb = embedded._initdb


def copy_instead_of_initdb() -> None:
    """From now on, servers that this process starts have a copy."""
    embedded._initdb = copy


def copy(binaries: Path, data: Path, account: pwd.struct_passwd | None, *, durable: bool) -> None:
    """Fill a data directory. Only what is installed is copied: a test may have binaries of its own."""
    given = os.environ.get("UNDERWAY_TEST_BIN")
    if binaries not in (embedded.wheel_binaries(), embedded.system_binaries(), given and Path(given)):
        return initdb(binaries, data, account, durable=durable)
    made = cluster(binaries, account)
    shutil.copytree(made, data, dirs_exist_ok=True)
    if account:
        for path in data.rglob("*"):
            os.chown(path, account.pw_uid, account.pw_gid)
    return None


def cluster(binaries: Path, account: pwd.struct_passwd | None) -> Path:
    """The cluster that initdb made with these binaries; other processes may ask for it at the same time."""
    changed = (binaries / "initdb").stat().st_mtime_ns
    name = hashlib.sha256(f"{binaries} {changed} {account and account.pw_name}".encode()).hexdigest()[:16]
    if not (MADE / name).exists():
        MADE.mkdir(parents=True, exist_ok=True)
        # Elsewhere, for the account may not be let in here.
        with tempfile.TemporaryDirectory(prefix="underway-cluster-") as directory:
            Path(directory).chmod(0o711)
            fresh = Path(directory, "data")
            fresh.mkdir(mode=0o700)
            if account:
                os.chown(fresh, account.pw_uid, account.pw_gid)
            initdb(binaries, fresh, account, durable=False)
            copied = Path(tempfile.mkdtemp(dir=MADE))
            shutil.copytree(fresh, copied, dirs_exist_ok=True)
        try:
            copied.rename(MADE / name)
        except OSError:  # another process was faster
            shutil.rmtree(copied)
    return MADE / name
