"""The fixtures of the command line."""

from tests.py.test_cli import bare, connection, mail, underway

__all__ = ["bare", "connection", "mail", "underway"]
