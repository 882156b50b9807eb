"""The demo: forty people register, and each is sent a welcome mail, in spite of several faults.

It runs a PostgreSQL server, a mail server and worker processes of its own. One address is busy at first, one does not
exist, one registration is rolled back, and one worker is killed in the middle of a delivery. On a terminal it ends with
the dashboard, until Ctrl-C; DEMO_DASHBOARD=no skips that, and DEMO_PORT is another port than 8420.

    python examples/demo.py
"""

from __future__ import annotations

import csv
import logging
import os
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psycopg

import underway_pg as underway

try:
    from stage import MailServer, Screen
except ModuleNotFoundError as missing:
    sys.exit(f"the demo needs the package {missing.name}: run it with `make demo`, or pip install {missing.name}")

PEOPLE = Path(__file__).with_name("people.csv")
BUSY = "priya@example.com"  # the mail server refuses this address twice, temporarily
GONE = "yara@example.com"  # the mail server refuses this address permanently
CRASH = "grace@example.net"  # the worker is killed after this mail has arrived, before it receives the response

IS_WORKER = sys.argv[1:2] == ["worker"]
logging.getLogger("underway_pg").setLevel(logging.CRITICAL)  # the intended failures are printed below


# The application: a queue, a job, and the code that enqueues it. The leases of a dead worker lapse after 2 seconds.

# The demo never uses your database: it starts one, whose DSN its workers get as DATABASE_URL.
app = underway.App(
    embedded=not IS_WORKER, queues=[underway.Queue(name="email", dead_letter_queue="undelivered", heartbeat=2)]
)


@app.job(queue="email", retry=underway.RetryPolicy(max_attempts=5, initial_interval=0.5))
def send_welcome_email(context: underway.Context, name: str, address: str) -> None:
    mail = EmailMessage()
    mail["Message-ID"] = message_id(context.id)  # the same in each attempt
    mail["From"], mail["To"], mail["Subject"] = "welcome@underway.example", address, f"Welcome, {name}!"
    mail.set_content(f"Hello {name},\n\nit is good to have you.\n")
    try:
        with smtplib.SMTP("127.0.0.1", int(os.environ["SMTP_PORT"]), local_hostname="localhost") as server:
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as refused:
        code, reason = refused.recipients[address]
        # 4xx is a temporary failure. 5xx is permanent: no further attempt would help.
        raise (underway.Retry if code < 500 else underway.Fatal)(f"{code} {reason.decode()}") from refused


def message_id(task: int) -> str:
    return f"<{task}@underway.example>"


def register(connection: psycopg.Connection[Any], person: dict[str, str]) -> int:
    """Insert the person and enqueue the welcome mail in one transaction. Returns the id of the task."""
    with connection.transaction():
        task = send_welcome_email.using(connection).enqueue(name=person["name"], address=person["email"])
        connection.execute("insert into demo.person values (%(id)s, %(name)s, %(email)s)", person)
    return task


# The worker processes.


def work(name: str) -> None:
    """Run a worker process. It ends with the demo, even if that is killed: its standard input is closed then."""

    def end_with_the_demo() -> None:
        os.read(sys.stdin.fileno(), 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(1)

    threading.Thread(target=end_with_the_demo, daemon=True).start()
    app.run(name=name, concurrency=4, shutdown_timeout=5)


@contextmanager
def worker_processes(*names: str, smtp_port: int) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    environment = {**os.environ, "DATABASE_URL": app.dsn, "SMTP_PORT": str(smtp_port)}
    with ExitStack() as cleanup:
        workers = {}
        for name in names:
            command = [sys.executable, __file__, "worker", name]
            workers[name] = cleanup.enter_context(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE))
            cleanup.callback(workers[name].terminate)
        yield workers


# The demo.


class DemoError(Exception):
    """The demo did not end as expected."""


def demo() -> None:
    started_at = time.monotonic()
    screen = Screen()
    mail_server = MailServer(busy=BUSY, gone=GONE, mute=CRASH)
    with app, mail_server.running() as port, psycopg.connect(app.dsn, autocommit=True) as connection:
        screen.say(f"PostgreSQL {connection.info.parameter_status('server_version')} and a mail server are running.")
        screen.say(f"The queues are {' and '.join(queue.queue for queue in app.client.queues())}.")

        app.sync()
        connection.execute("create schema demo")
        connection.execute("create table demo.person (id integer primary key, name text, email text unique)")
        mails: dict[int, str] = {}  # the address by the task that sends it
        rolled_back: dict[str, str] = {}  # the reason by the person's name
        for person in csv.DictReader(PEOPLE.read_text(encoding="utf-8").splitlines()):
            try:
                mails[register(connection, person)] = person["email"]
            except psycopg.errors.UniqueViolation as error:
                rolled_back[person["name"]] = error.diag.message_detail or str(error)
        screen.say(f"{len(mails)} people are registered, each with a mail to send; {len(rolled_back)} was rolled back.")

        with worker_processes("worker-1", "worker-2", smtp_port=port) as workers, screen.progress(len(mails)) as show:

            def follow(until: Callable[[], bool]) -> None:
                deadline = time.monotonic() + 60
                while not until():
                    show(len(mails) - unfinished())
                    for name, worker in workers.items():
                        if worker.poll() is not None:
                            raise DemoError(f"{name} exited by itself, with status {worker.returncode}")
                    if time.monotonic() > deadline:
                        raise DemoError(f"{unfinished()} mails were not sent within 60 seconds")
                    time.sleep(0.05)
                show(len(mails) - unfinished())

            follow(until=lambda: mail_server.unconfirmed is not None)
            victim = str(next(found(task).worker for task in mails if message_id(task) == mail_server.unconfirmed))
            workers.pop(victim).kill()
            screen.say(f"  {victim} was killed: the mail to {CRASH} has arrived, but {victim} did not report it")
            follow(until=lambda: unfinished() == 0)

        tasks = [found(task) for task in mails]
        rows = [(str(sum(not task.errors for task in tasks)), "sent", "1", "the others", "")]
        for task in tasks:
            if task.errors:
                outcome = "sent" if task.state == "succeeded" else "failed"
                lapsed = "its worker died: lease lapsed"
                reasons = [lapsed if error["type"] == "LeaseLapsed" else error["message"] for error in task.errors]
                why = "; ".join(dict.fromkeys(reasons))
                if (deliveries := mail_server.deliveries[message_id(task.id)]) > 1:
                    why += f"; arrived {deliveries} times, kept once"
                rows.append(("1", outcome, str(task.attempt), mails[task.id], why))
        rows += [("0", "rolled back", "0", name, why) for name, why in rolled_back.items()]
        screen.table(("mails", "outcome", "attempts", "to", "why"), rows)
        screen.say(
            "An effect outside the database happens at least once: the mail of the killed\n"
            "worker was sent again. Its Message-ID comes from the task, so the mailbox kept one."
        )
        check(connection, mails, mail_server)
        screen.say("Checked: each mail arrived exactly once, and no other mail arrived.")
        screen.say(f"The demo succeeded after {time.monotonic() - started_at:.1f} seconds.")
        show_dashboard(screen)


def show_dashboard(screen: Screen) -> None:
    """Serve the dashboard on the data of the demo until Ctrl-C, where somebody can look at it and press that."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("DEMO_DASHBOARD") == "no":
        screen.say("On a terminal the demo ends with the dashboard. On a database of yours: underway dashboard")
        return
    try:
        from underway_pg.cli.dashboard import serve
    except ModuleNotFoundError as missing:
        screen.say(f"The dashboard needs the package {missing.name}: pip install 'underway-pg[dashboard]'")
        return
    screen.say("Its tasks, attempts and errors are in the dashboard.")
    serve({"demo": app.dsn}, port=int(os.environ.get("DEMO_PORT", "8420")))


def found(task: int) -> underway.TaskInfo:
    info = app.task(task)
    if info is None:
        raise DemoError(f"task {task} does not exist")
    return info


def unfinished() -> int:
    email = next(queue for queue in app.client.queues() if queue.queue == "email")
    return email.ready + email.scheduled + email.in_progress


def check(connection: psycopg.Connection[Any], mails: dict[int, str], mail_server: MailServer) -> None:
    """Compare the outcome with the expected one."""
    people = {address for (address,) in connection.execute("select email from demo.person")}
    expected = {message_id(task): address for task, address in mails.items() if address != GONE}
    dead_letters = [letter.dead_letter_of for letter in app.client.tasks(queue="undelivered")]
    tasks = {address: found(task) for task, address in mails.items()}
    repeated = mail_server.deliveries[mail_server.unconfirmed or ""]
    checks = {
        "the tasks are those of the people in the table": sorted(mails.values()) == sorted(people),
        "the rolled-back registration left no task": {t.id for t in app.client.tasks(queue="email")} == set(mails),
        "the mailbox holds each mail once, and no other": mail_server.mailbox == expected,
        "the dead-letter queue holds the refused mail alone": dead_letters == [t for t in mails if mails[t] == GONE],
        "the refused mail was given up at once": [e["type"] for e in tasks[GONE].errors or []].count("Fatal") == 1,
        "the mail to the busy address was tried again, twice": tasks[BUSY].attempt >= 3,
        "the mail of the killed worker was sent again": repeated > 1,
    }
    if wrong := [check for check, holds in checks.items() if not holds]:
        raise DemoError("not true: " + "; ".join(wrong))


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that everything is stopped then too
    try:
        demo()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"the demo failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if IS_WORKER:
        work(name=sys.argv[2])
    else:
        sys.exit(main())
