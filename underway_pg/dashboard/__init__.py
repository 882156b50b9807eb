"""The dashboard: a web application that shows and operates the queues of one database."""

from .application import Dashboard
from .settings import User

__all__ = ["Dashboard", "User"]
