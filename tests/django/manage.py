"""The project that tests Underway in Django. `tests/py/test_django.py` runs its tests."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config")
    execute_from_command_line(sys.argv)
