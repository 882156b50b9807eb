"""The version of this package. A module of its own, so that every other module may import it."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
