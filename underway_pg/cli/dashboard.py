"""The command `dashboard`: serve the dashboard."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping
from typing import Annotated

import typer

from .databases import Databases, on_databases
from .errors import WrongUsage
from .output import echo

__all__ = ["commands", "serve"]

commands = typer.Typer()


@commands.command()
@on_databases
def dashboard(
    databases: Databases,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8420,
    token: Annotated[
        str | None,
        typer.Option(
            help="Ask visitors for this token. Programs send it as Authorization: Bearer.", show_default=False
        ),
    ] = None,
    password: Annotated[str | None, typer.Option(help="Ask visitors for this password.", show_default=False)] = None,
    allow_actions: Annotated[
        bool | None,
        typer.Option(
            "--allow-actions/--read-only",
            help="Whether visitors may change anything. Default: only without a token or password, for people on this"
            " machine alone.",
            show_default=False,
        ),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY|PATH",
            help="Do not show the values of this key, such as password, or of this path, such as"
            " $.card.number; may be repeated.",
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="The path under which a proxy publishes the dashboard.")] = "",
) -> None:
    """Serve the dashboard: a web site that shows and operates the queues of the database, or of several.

    It listens on this machine alone. On another address it needs --token or --password, better given as
    UNDERWAY_DASHBOARD_TOKEN or UNDERWAY_DASHBOARD_PASSWORD, which no list of processes shows. There it is read-only
    unless --allow-actions is given.
    """
    if not _is_loopback(host) and not (token or password):
        raise WrongUsage(
            f"--host {host} can be reached from other machines, so the dashboard needs --token or --password, better as"
            " UNDERWAY_DASHBOARD_TOKEN or UNDERWAY_DASHBOARD_PASSWORD"
        )
    serve(
        databases.dsns,
        host=host,
        port=port,
        token=token,
        password=password,
        read_only=None if allow_actions is None else not allow_actions,
        redact=redact or [],
        prefix=prefix,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def serve(
    dsns: Mapping[str, str],
    *,
    host: str = "127.0.0.1",
    port: int = 8420,
    token: str | None = None,
    password: str | None = None,
    read_only: bool | None = None,
    redact: list[str] | None = None,
    prefix: str = "",
) -> None:
    """Serve the dashboard until SIGINT or SIGTERM. Raises WrongUsage if its packages or its address are missing."""
    try:
        from ..dashboard.server import run
    except ModuleNotFoundError as missing:
        raise WrongUsage(f"{missing.name} is not installed: pip install 'underway-pg[dashboard]'") from None
    from ..dashboard import Dashboard

    local = not (token or password)
    application = Dashboard(
        dsns=dsns, read_only=read_only, token=token, password=password, local=local, redact=redact or [], prefix=prefix
    )
    mode = " It is read-only." if application.settings.read_only else ""
    try:
        run(
            application,
            host=host,
            port=port,
            started=lambda url: echo(f"The dashboard is at {url}{mode} Stop it with Ctrl-C."),
        )
    except OSError as error:
        raise WrongUsage(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; choose another --port"
        ) from None
