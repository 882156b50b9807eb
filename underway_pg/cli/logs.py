"""The log of a worker that runs from the command line, unless its application configures logging."""

from __future__ import annotations

import logging
from typing import Literal

from .output import printable

__all__ = ["Format", "Level", "configure_logging"]

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]


def configure_logging(level: Level | None, format: Format | None) -> None:
    """Log to stderr, by default from level info on and as text.

    Call this after the application was imported: if it has given the root logger or the package's logger a handler, all
    that is changed is the level of the package's logger, and that only if a level is given.
    """
    package = logging.getLogger("underway_pg")
    if level is not None:
        package.setLevel(level.upper())
    if logging.root.handlers or package.handlers:
        if format is not None:
            package.warning("--log-format %s has no effect: the application has configured logging", format)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_json_formatter() if format == "json" else _TextFormatter())
    logging.basicConfig(level=(level or "info").upper(), handlers=[handler])


class _TextFormatter(logging.Formatter):
    """Lines of text, in which control characters are escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _json_formatter() -> logging.Formatter:
    """JSON lines with timestamp (ISO 8601, UTC), level, logger, message, and what a record has in `extra`."""
    from pythonjsonlogger.json import JsonFormatter  # only a worker needs it

    return JsonFormatter(
        ["levelname", "name", "message"], timestamp=True, rename_fields={"levelname": "level", "name": "logger"}
    )
