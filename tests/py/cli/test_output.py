"""What commands print and log of text that tasks bring along."""

from __future__ import annotations

import logging

import pytest

from underway_pg.cli import logs
from underway_pg.cli.output import printable

HOSTILE = "a\x1b[2J\r\x9b\x7f\u202eb\u2066"
ESCAPED = "a\\x1b[2J\\x0d\\x9b\\x7f\\u202eb\\u2066"


def test_characters_that_control_a_terminal_or_turn_text_around_are_escaped() -> None:
    assert printable(HOSTILE) == ESCAPED
    harmless = "two lines\n\twith tabs, \u00e9\u4e2d\U0001f600"
    assert printable(harmless) == harmless


def test_the_text_log_of_a_worker_escapes_them_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # here, since pytest adds its own to each phase of a test
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    logs.configure_logging(None, "text")
    logging.getLogger("underway_pg.worker").error("task 1 failed: %s", HOSTILE)
    assert capsys.readouterr().err.endswith(f"ERROR task 1 failed: {ESCAPED}\n")
