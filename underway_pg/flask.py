"""Flask: an extension that gives an application its database from the configuration, and its handlers a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from .app import App
from .errors import ConfigurationError
from .worker import Context

__all__ = ["Underway"]


class Underway:
    """Connects an App with a Flask application: `Underway(app, web)`, or `init_app(web)` in an application factory.

    Each handler runs in an application context of its own, so `current_app` and extensions such as Flask-SQLAlchemy
    work in it, and what they registered with `teardown_appcontext` is called after each attempt. The App is
    `web.extensions["underway"]`. These keys of `web.config` are read:

    UNDERWAY_DSN  the database, instead of the one that the App was given
    """

    def __init__(self, app: App, web: Flask | None = None) -> None:
        self.app = app
        self._web: Flask | None = None
        app.middleware = [self._push_context, *app.middleware]
        if web is not None:
            self.init_app(web)

    def init_app(self, web: Flask) -> None:
        """Connect the App with a Flask application. Of several, handlers run in the context of the last one."""
        if dsn := web.config.get("UNDERWAY_DSN"):
            self.app.dsn = dsn
        web.extensions["underway"] = self.app
        self._web = web

    @contextmanager
    def _push_context(self, context: Context) -> Iterator[None]:
        if self._web is None:
            raise ConfigurationError(
                "Underway has no Flask application; call init_app(web) in the module that the worker imports"
            )
        with self._web.app_context():
            yield
