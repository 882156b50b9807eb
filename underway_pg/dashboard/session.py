"""What belongs to a visitor: signing in and out, and the colour scheme."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from . import security
from .page import back_of, base_path, dashboard_of, is_inside, read_form, render

__all__ = ["routes"]

_YEAR = 365 * 24 * 3600


async def theme(request: Request) -> Response:
    """Choose the colour scheme."""
    form = await read_form(request)
    chosen = str(form.get("theme", ""))
    if chosen not in ("light", "dark", "system"):
        raise HTTPException(400, "There is no such colour scheme. Use light, dark or system.")
    response = RedirectResponse(back_of(request, form), status_code=303)
    security.set_cookie(request, response, "underway_theme", chosen, max_age=_YEAR)
    return response


async def login(request: Request) -> Response:
    """Sign in with the token or the password."""
    chosen = dashboard_of(request).settings
    if not (chosen.token or chosen.password):
        raise HTTPException(404, "This dashboard has no sign-in of its own.")
    if request.method == "POST":
        form = await read_form(request)
        after, name = str(form.get("next", "")), " ".join(str(form.get("name", "")).split())[:100]
    else:
        form, after, name = None, request.query_params.get("next", ""), ""
    after = after if is_inside(request, after) else base_path(request) + "/"
    problem, status = None, 200
    if form is not None:
        try:
            security.check_secret(request, str(form.get("secret", "")))
        except HTTPException as error:
            problem, status = str(error.detail), error.status_code
        else:
            response = RedirectResponse(after, status_code=303)
            # A new session: nobody can have planted its name before.
            security.keep_session(request, response, security.Session.new(name or "signed in"))
            return response
    kinds = " or ".join(kind for kind, given in (("password", chosen.password), ("token", chosen.token)) if given)
    return await render(
        request, "login.html", status=status, title="Sign in", next=after, name=name, problem=problem, kinds=kinds
    )


async def logout(request: Request) -> Response:
    """Sign out."""
    await read_form(request)
    response = RedirectResponse(f"{base_path(request)}/", status_code=303)
    security.end_session(request, response)
    return response


for each in (theme, login, logout):
    each.is_action = True  # type: ignore[attr-defined]  # they check their forms themselves

routes = [
    Route("/theme", theme, methods=["POST"], name="theme"),
    Route("/login", login, methods=["GET", "POST"], name="login"),
    Route("/logout", logout, methods=["POST"], name="logout"),
]
