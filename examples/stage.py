"""The surroundings of the demo: a mail server and the screen. Nothing here is about Underway."""

from __future__ import annotations

import asyncio
import email
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from aiosmtpd.controller import UnthreadedController

try:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True


class MailServer:
    """An SMTP server that keeps one mail for each Message-ID, and counts how often each was delivered.

    busy   an address that is refused twice with 451, try again later, and then accepted
    gone   an address that is always refused with 550
    mute   an address whose first mail is accepted without a response to the sender
    """

    def __init__(self, *, busy: str, gone: str, mute: str) -> None:
        self.mailbox: dict[str, str] = {}  # the address by Message-ID
        self.deliveries: Counter[str] = Counter()
        self.unconfirmed: str | None = None  # the Message-ID of the mail to `mute`, once it has arrived
        self._gone = gone
        self._mute = mute
        self._refusals = {busy: 2}

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address == self._gone:
            return "550 no such mailbox"
        if self._refusals.get(address, 0) > 0:
            self._refusals[address] -= 1
            return "451 mailbox busy, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        await asyncio.sleep(0.2)  # a mail takes a moment
        mail = email.message_from_bytes(envelope.content)
        self.mailbox[mail["Message-ID"]] = mail["To"]
        self.deliveries[mail["Message-ID"]] += 1
        if mail["To"] == self._mute and self.unconfirmed is None:
            self.unconfirmed = mail["Message-ID"]
            await asyncio.Event().wait()  # until the sender has disconnected
        return "250 OK"

    @contextmanager
    def running(self) -> Iterator[int]:
        """Run the server in a thread, on a free port of this machine. Yields the port."""
        controller = UnthreadedController(self, "127.0.0.1", 0, server_hostname="localhost")
        controller.begin()
        server = cast(asyncio.Server, controller.server)
        thread = threading.Thread(target=controller.loop.run_forever, daemon=True)
        thread.start()
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            controller.loop.call_soon_threadsafe(controller.cancel_tasks)
            thread.join()


class Screen:
    """Prints the progress: with a progress bar on a terminal if rich is installed, otherwise as plain lines."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False) if HAS_RICH and sys.stdout.isatty() else None

    def say(self, line: str) -> None:
        if self._console:
            self._console.print(line)
        else:
            print(line, flush=True)

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[int], None]]:
        """Yield a function to be called with the number of mails that are done."""
        if self._console:
            with Progress(console=self._console) as bars:
                bar = bars.add_task("mails", total=total)
                yield lambda done: bars.update(bar, completed=done)
        else:
            milestones = [*range(total, 0, -10)]

            def print_milestones(done: int) -> None:
                while milestones and done >= milestones[-1]:
                    self.say(f"  {milestones.pop()} of {total} mails are done")

            yield print_milestones

    def table(self, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        if self._console:
            table = Table(*head)
            for row in rows:
                table.add_row(*row)
            self._console.print(table)
        else:
            widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
            for row in [head, tuple("-" * width for width in widths), *rows]:
                self.say("  ".join(map(str.ljust, row, widths)).rstrip())
