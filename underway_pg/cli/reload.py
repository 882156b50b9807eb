"""`underway worker --reload`: restart the worker when code changes, for development."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigurationError
from .logs import configure_logging

__all__ = ["reloaded_timeout", "run_reloading"]

# Seconds. watchfiles kills a process 5 seconds after it has asked it to stop.
_MAX_SHUTDOWN_TIMEOUT = 3.0


def run_reloading(arguments: Sequence[str]) -> None:
    """Run this command in a process that is restarted when code changes, until SIGTERM or SIGINT."""
    try:
        import watchfiles  # needed in development only
    except ModuleNotFoundError:
        raise ConfigurationError("watchfiles is not installed: pip install 'underway-pg[reload]'") from None

    configure_logging(None, None)
    try:
        watchfiles.run_process(
            Path.cwd(),
            target="underway_pg.cli.main",
            args=([*arguments, "--no-reload"],),
            watch_filter=watchfiles.PythonFilter(),
        )
    except Exception as error:
        raise ConfigurationError(f"cannot watch {Path.cwd()} for changes: {error}") from error


def reloaded_timeout(shutdown_timeout: float) -> float:
    """The shutdown timeout of this process. One that `run_reloading` has started stops when its parent has died."""
    if "WATCHFILES_CHANGES" not in os.environ:  # which watchfiles sets for the process that it runs
        return shutdown_timeout
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None:
        return shutdown_timeout

    def stop_after_parent() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_after_parent, name="underway-reload", daemon=True).start()
    return min(shutdown_timeout, _MAX_SHUTDOWN_TIMEOUT)
