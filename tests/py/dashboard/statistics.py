"""A day of statistics: what charts show."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg


def fill(connection: psycopg.Connection[Any], now: datetime) -> None:
    """Replace the statistics by a day with a quiet night, a busy noon and an outage of payments."""
