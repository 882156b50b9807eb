"""What belongs to a visitor: signing in and out, and the colour scheme."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from . import security
from .page import back_of, read_form

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


theme.is_action = True  # type: ignore[attr-defined]

routes = [Route("/theme", theme, methods=["POST"], name="theme")]
