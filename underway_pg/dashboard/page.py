"""What every page is made with: `page` for reading, `action` for changing, `render`, `confirm` and `Done`."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..errors import DatabaseRefusal, DatabaseUnavailable, InputError, UnderwayError
from . import security
from .database import Database, Queries
from .rendering import about, base_path, confirm, dashboard_of, database_of, render, shard_of, text_of, url

__all__ = [
    "Done",
    "action",
    "back_of",
    "base_path",
    "confirm",
    "dashboard_of",
    "database_of",
    "is_inside",
    "page",
    "read_form",
    "render",
    "shard_of",
    "url",
]

logger = logging.getLogger(__name__)

Contexts = Mapping[str, dict[str, Any]]
"""What a template gets for each database, by name."""


@dataclass(frozen=True)
class Done:
    """What an action has done: the message for its user, which may be empty, and the details for the audit log.

    `to` is a path of the dashboard, made by `url`; None is the page from which the action was called. `after` is called
    when the transaction has been committed.
    """

    message: str
    to: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    after: Callable[[], None] | None = None


def page(
    template: str, *, title: str = "", live: bool = True, merge: Callable[[Contexts], dict[str, Any]] | None = None
) -> Callable[[Any], Any]:
    """Make an endpoint of `async def f(request, db) -> dict | Response`, whose dict the template gets.

    `db` is a read-only transaction. A `title` in the dict takes precedence. With `live` the browser refreshes the page.
    Where several databases are shown, the function is called for each of them. `merge` makes one dict of theirs;
    without it the page has a section for each database.
    """

    def decorate(function: Callable[[Request, Queries], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        @functools.wraps(function)
        async def endpoint(request: Request) -> Response:
            databases = dashboard_of(request).databases
            database = await databases.of(request)
            if database is None:
                return await _page_of_all(request, function, template, {"title": title, "live": live}, merge)
            request = about(request, database)
            async with database.reading() as db:
                found = await function(request, db)
            if isinstance(found, Response):
                return found
            return await render(request, template, **{"title": title, "live": live, **found})

        return endpoint

    return decorate


async def _page_of_all(
    request: Request,
    function: Callable[[Request, Queries], Awaitable[Any]],
    template: str,
    defaults: Mapping[str, Any],
    merge: Callable[[Contexts], dict[str, Any]] | None,
) -> Response:
    """A page of all databases that can be reached, with the reasons why the others cannot."""

    async def of_one(database: Database) -> Any:
        async with database.reading() as db:
            return await function(about(request, database), db)

    databases = dashboard_of(request).databases.all
    answers = await asyncio.gather(*(of_one(each) for each in databases.values()), return_exceptions=True)
    answered = dict(zip(databases, answers, strict=True))
    found = {name: answer for name, answer in answered.items() if isinstance(answer, dict)}
    failed = {name: answer for name, answer in answered.items() if isinstance(answer, BaseException)}
    if len(found) + len(failed) < len(databases):  # a question, which is about one
        raise HTTPException(400, f"Choose one of the databases for this: {', '.join(databases)}.")
    for error in failed.values():
        # What one database does not have, such as a queue, another may have.
        if not found or not isinstance(error, (UnderwayError, psycopg.Error, HTTPException)):
            raise error
    unreachable = {name: _reason(name, error) for name, error in failed.items() if not isinstance(error, HTTPException)}
    common = {**defaults, "unreachable": unreachable}
    if merge is not None:
        return await render(request, template, **common, **merge(found))
    sections = {}
    for name, context in found.items():
        of_shard = {**defaults, **context, "layout": "section.html", "shard_name": name}
        text = await text_of(about(request, databases[name]), template, 200, of_shard)
        sections[name] = Markup(text)  # a page of a template, which has escaped its values
    return await render(request, "sections.html", **{**common, "title": defaults["title"], "sections": sections})


def _reason(name: str, error: BaseException) -> str:
    """Why a database is missing on a page. Where it is, and more, is in the log: not all visitors may know."""
    logger.warning("dashboard: %s: %s", name, str(error).strip())
    if isinstance(error, DatabaseUnavailable):
        return "it cannot be reached"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return "its answer takes too long"
    return str(error).splitlines()[0]


def action(name: str) -> Callable[[Any], Any]:
    """Make a POST endpoint of `async def f(request, form, db) -> Done`, where `name` is the SQL function that it calls.

    The action is refused unless the user may act, the database role may call the function, and the form was sent by a
    page of the dashboard. `db` is a transaction, in which the audit row is written too. What the database refuses is
    shown on the page from which the action was called.
    """

    def decorate(
        function: Callable[[Request, FormData, Queries], Awaitable[Done | Response]],
    ) -> Callable[[Request], Awaitable[Response]]:
        @functools.wraps(function)
        async def endpoint(request: Request) -> Response:
            databases = dashboard_of(request).databases
            database = await databases.of(request)
            if database is None:
                raise HTTPException(400, f"Choose one of the databases for this: {', '.join(databases.all)}.")
            request = about(request, database)
            form = await checked_form(request, name)
            try:
                async with database.writing() as db:
                    done = await function(request, form, db)
                    if isinstance(done, Response):
                        return done
                    details = {**request.path_params, **done.details}
                    await db.record(request.state.user.name, name, details)
            except (DatabaseRefusal, InputError) as error:
                return redirect(request, back_of(request, form), str(error), failed=True)
            if done.after is not None:
                done.after()
            return redirect(request, done.to or back_of(request, form), done.message)

        endpoint.is_action = True  # type: ignore[attr-defined]
        return endpoint

    return decorate


async def checked_form(request: Request, name: str) -> FormData:
    """The form of an action. Raises HTTPException 403 unless this user may do it from this page."""
    dashboard = dashboard_of(request)
    refusal = dashboard.refusal(request.state.user, name, await database_of(request).privileges())
    if refusal is not None:
        raise HTTPException(403, refusal)
    return await read_form(request)


async def read_form(request: Request) -> FormData:
    """The form of a POST. Raises HTTPException 403 unless a page of this dashboard and session has sent it."""
    form = await request.form(max_files=0, max_fields=2_000, max_part_size=4 * 1024 * 1024)
    security.check_csrf(request, str(form.get("csrf", "")))
    return form


def redirect(request: Request, to: str, message: str, *, failed: bool = False) -> Response:
    """Go to a page of the dashboard, which shows the message."""
    response = RedirectResponse(to, status_code=303)
    if message:
        security.keep_flash(request, response, message, failed=failed)
    return response


def back_of(request: Request, form: FormData) -> str:
    """The page from which an action was called."""
    back = str(form.get("back", ""))
    return back if is_inside(request, back) else f"{base_path(request)}/"


def is_inside(request: Request, path: str) -> bool:
    """Whether a path that was sent by a browser is one of this dashboard."""
    inside = path.startswith(f"{base_path(request)}/") and not path.startswith("//")
    return inside and path.isprintable() and "\\" not in path
