"""`python -m underway_pg` is the command line `underway`."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
