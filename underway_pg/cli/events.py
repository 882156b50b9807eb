"""The command `events`: follow what happens, on the terminal or by a webhook."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import typer

from ..client import Client
from ..client.events import EVENT_KINDS
from ..models import Event
from .database import require_dsn
from .errors import WrongUsage
from .options import Dsn, duration_option
from .output import echo, print_error
from .webhook import NotDelivered, Webhook, event_object

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def events(
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"Only events of this kind; may be repeated: {', '.join(EVENT_KINDS)}.", show_default=False),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, metavar="ID", help="Begin after the event with this id. Default: now.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
    stop_after: Annotated[
        timedelta | None, duration_option("Stop after this time. Default: when the command is interrupted.")
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send each event to this URL with POST, as JSON. Without --json nothing is printed then.",
            show_default=False,
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Sign what is sent with HMAC-SHA256, as Standard Webhooks. Better set in the environment, where other"
            " users of the machine do not see it.",
            show_default=False,
        ),
    ] = None,
    dsn: Dsn = None,
) -> None:
    """Follow what happens: tasks that fail, queues that are blocked, schedules and workers that fail.

    With --webhook, an event is sent up to 8 times within two minutes, unless the receiver refuses it with a status
    from 400 to 499 (other than 408, 425 and 429). One that cannot be delivered is reported on stderr. Meanwhile nothing
    is read from the database, which keeps events for seven days.
    """
    unknown = set(kind or ()) - set(EVENT_KINDS)
    if unknown:
        raise WrongUsage(f"--kind {min(unknown)}: there is no such kind; the kinds are {', '.join(EVENT_KINDS)}")
    if secret is not None and webhook is None:
        raise WrongUsage("--secret needs --webhook")
    receiver = None if webhook is None else Webhook(webhook, secret)
    with Client(require_dsn(dsn)) as client:
        seconds = None if stop_after is None else stop_after.total_seconds()
        found = client.events(kind or None, after=after, timeout=seconds)
        _follow(found, receiver, as_json=as_json)


def _follow(events: Iterator[Event], receiver: Webhook | None, *, as_json: bool) -> None:
    try:
        for event in events:
            if as_json:
                print(json.dumps(event_object(event)), flush=True)
            elif receiver is None:
                echo(_line(event))
                sys.stdout.flush()
            if receiver is not None:
                try:
                    receiver.deliver(event)
                except NotDelivered as error:
                    print_error(f"event {event.id} ({event.kind}) was not delivered to {receiver.name}: {error}")
    except BrokenPipeError:  # the program that reads the output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(event: Event) -> str:
    """An event in one line."""
    about = {"queue": event.queue, "job": event.job, "task": event.task, **event.details}
    words = (
        f"{name}={value if isinstance(value, str | int | float) else json.dumps(value)}"
        for name, value in about.items()
        if value is not None
    )
    line = f"{event.at.isoformat(' ', 'seconds')} {event.id} {event.kind} {' '.join(words)}"
    return " ".join(line.split())
