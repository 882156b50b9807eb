"""What is wrong with an installation, and the remedy: checks of the schema, the server, the workers and the queues.

Each check is a function over the `Facts` that it needs; it returns a `Finding` for each thing that is wrong. `examine`
runs all checks and adds a finding of level ok for each that found nothing.
"""

from ._check import Check, Finding, Level, Limits
from ._examine import CHECKS, examine

__all__ = ["CHECKS", "Check", "Finding", "Level", "Limits", "examine"]
