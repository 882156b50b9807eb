"""`manage.py underway_worker`: the command `underway worker` for the jobs of this project."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from underway_pg.cli import main
from underway_pg.cli.worker import worker_options

__all__ = ["Command"]

_APPLICATION = "underway_pg.django:app"
