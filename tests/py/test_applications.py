"""Applications of several modules: blueprints, modules that are imported late, and another database for a test."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.py.support import beside, final
from tests.servers import Server
from underway_pg import App, Blueprint, ConfigurationError, Queue, RetryPolicy

FOREVER = "0 0 1 1 *"


@pytest.fixture
def app(database: str) -> Iterator[App]:
    with App(database) as app:
        yield app


@pytest.fixture
def other_database(server: Server) -> Iterator[str]:
    with server.database() as dsn:
        yield dsn


def jobs_in(dsn: str) -> list[str | None]:
    """The jobs of the tasks of a database, the first one first."""
    with App(dsn) as reader:
        return [task.job for task in reversed(reader.client.tasks())]


# Blueprints


def test_jobs_and_schedules_of_a_blueprint_belong_to_the_application_that_includes_it(app: App) -> None:
    mail = Blueprint(queues=[Queue(name="mail", timeout=7, executor="process", retry=RetryPolicy(max_attempts=2))])

    @mail.schedule(FOREVER, name="nightly", arguments={"to": "ada"})
    @mail.job(queue="mail")
    def send(to: str) -> str:
        return f"sent to {to}"

    app.include(mail)

    @mail.job(queue="late")
    def declared_later() -> None: ...

    assert set(app.jobs) == {"send", "declared_later"}
    assert send.app is app
    assert send.executor == "process"
    synced = app.sync()
    assert synced.queues.created == ["late", "mail"]
    assert synced.schedules.created == ["nightly"]
    task = send.enqueue(to="ada")
    assert app.task(task).queue == "mail"  # type: ignore[union-attr]


def test_a_job_of_a_blueprint_runs_and_waits_for_its_result(app: App) -> None:
    mail = Blueprint()

    @mail.job(queue="mail")
    def send(to: str) -> str:
        return f"sent to {to}"

    assert send("ada") == "sent to ada"
    app.include(mail)
    app.include(mail)  # a second time changes nothing
    task = send.enqueue(to="ada")
    with beside(app.worker()) as worker:
        final(app, task, worker)
    assert task.wait(timeout=5) == "sent to ada"


def test_a_job_of_a_blueprint_that_no_application_includes_cannot_be_enqueued() -> None:
    mail = Blueprint()

    @mail.job
    def send() -> None: ...

    with pytest.raises(ConfigurationError, match=r"no application includes the blueprint of send: call app\.include"):
        send.enqueue()


def test_names_and_queues_of_a_blueprint_must_not_contradict_the_application() -> None:
    app, mail = App("postgresql:///nowhere", queues=[Queue(name="mail", timeout=1)]), Blueprint()
    app.job(name="send")(lambda: None)
    mail.job(name="send")(lambda: 1)
    with pytest.raises(ConfigurationError, match="two jobs are named 'send'"):
        app.include(mail)
    with pytest.raises(ConfigurationError, match="queue 'mail' is declared twice, with different settings"):
        app.include(Blueprint(queues=[Queue(name="mail", timeout=2)]))
    with pytest.raises(ConfigurationError, match="included in another application already"):
        App("postgresql:///nowhere").include(mail)
    with pytest.raises(ConfigurationError, match="give a Blueprint"):
        app.include("mail")  # type: ignore[arg-type]


# Modules that are imported late


@pytest.fixture
def shop(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package whose jobs import its application, and whose application names its jobs."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "app.py").write_text(
        f"import underway_pg\napp = underway_pg.App({database!r}, imports=['shop.jobs', 'shop.mail'])\n"
    )
    (package / "jobs.py").write_text(
        "from shop.app import app\n\n@app.job(queue='orders')\ndef bill(order: int) -> int:\n    return order\n"
    )
    (package / "mail.py").write_text(
        "from shop.app import app\nfrom shop.jobs import bill\n\n@app.schedule('@daily')\n@app.job\ndef send(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def test_modules_are_imported_when_their_jobs_are_needed(shop: Path) -> None:
    import shop.app as module  # type: ignore[import-not-found]

    assert "shop.jobs" not in sys.modules
    with module.app as app:
        synced = app.sync()
        assert set(app.jobs) == {"bill", "send"}
        assert (synced.queues.created, synced.schedules.created) == (["default", "orders"], ["send"])


def test_an_import_may_begin_at_the_jobs_and_a_worker_finds_those_of_all_modules(shop: Path) -> None:
    from shop.jobs import bill  # type: ignore[import-not-found]

    with bill.app as app:
        task = bill.enqueue(order=7)
        assert "shop.mail" not in sys.modules  # an enqueue needs none of the others
        with beside(app.worker()) as worker:
            assert worker.worker.queues == ["orders", "default"]
            assert final(app, task, worker).output == 7


def test_a_process_finds_the_application_of_a_blueprint(shop: Path, database: str) -> None:
    (shop / "mail.py").write_text(
        "import underway_pg\n\nmail = underway_pg.Blueprint()\n\n@mail.job(executor='process')\n"
        "def state(context: underway_pg.Context) -> str:\n    return context.state\n"
    )
    (shop / "app.py").write_text(
        "import underway_pg\nfrom shop.mail import mail\n\n"
        f"app = underway_pg.App({database!r}, state='of the app')\napp.include(mail)\n"
    )
    import shop.app as module  # type: ignore[import-not-found]

    with module.app as app, beside(app.worker()) as worker:
        assert final(app, app.jobs["state"].enqueue(), worker).output == "of the app"


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"App\(imports=\['nowhere'\]\): module 'nowhere' was not found"):
        App("postgresql:///nowhere", imports=["nowhere"]).sync()
    with pytest.raises(ConfigurationError, match=r"give a list of modules, as in \['shop.jobs'\]"):
        App("postgresql:///nowhere", imports="shop.jobs")


def test_an_error_in_a_module_names_its_line(shop: Path) -> None:
    (shop / "mail.py").write_text("import shop.app\n\n1 / 0\n")
    import shop.app as module  # type: ignore[import-not-found]

    with pytest.raises(ConfigurationError, match=r"importing shop\.mail failed: ZeroDivisionError.*mail\.py:3\)"):
        module.app.worker()


def test_modules_that_declare_jobs_of_another_app_object_are_reported(shop: Path, database: str) -> None:
    started = App(database, imports=["shop.jobs"])  # as `python shop/app.py` would make it
    with pytest.raises(ConfigurationError, match="declare no jobs of this App"):
        started.worker()


# Another database for a test


def test_an_override_applies_in_its_block_to_threads_and_to_event_loops(
    app: App, database: str, other_database: str
) -> None:
    @app.job
    def note(where: str) -> None: ...

    @app.job
    def note_async(where: str) -> None: ...

    note.enqueue(where="before")
    asyncio.run(note_async.enqueue_async(where="before"))
    with app.override(dsn=other_database) as same:
        assert same is app
        assert app.dsn == other_database
        thread = threading.Thread(target=lambda: note.enqueue(where="thread"))
        thread.start()
        thread.join()
        asyncio.run(note_async.enqueue_async(where="loop"))
        with beside(app.worker(queues=["default"])) as worker:
            final(app, note.enqueue(where="worker"), worker)
    assert app.dsn == database
    note.enqueue(where="after")

    assert jobs_in(database) == ["note", "note_async", "note"]
    assert jobs_in(other_database) == ["note", "note_async", "note"]


def test_an_override_on_a_running_event_loop_has_clients_of_its_own(
    app: App, database: str, other_database: str
) -> None:
    @app.job
    async def note() -> None: ...

    async def main() -> None:
        await note.enqueue_async()
        with app.override(dsn=lambda: other_database):
            await note.enqueue_async()
            await note.enqueue_async()
        await note.enqueue_async()

    asyncio.run(main())
    assert (len(jobs_in(database)), len(jobs_in(other_database))) == (2, 2)


def test_overrides_may_be_nested_and_end_in_any_order(app: App, database: str) -> None:
    first, second = app.override(dsn="postgresql:///first"), app.override(dsn="postgresql:///second")
    with first:
        second.__enter__()
        assert app.dsn == "postgresql:///second"
    assert app.dsn == "postgresql:///second"
    second.__exit__(None, None, None)
    assert app.dsn == database


def test_after_an_override_no_connection_to_its_database_is_left(app: App, other_database: str) -> None:
    note = app.job(name="note")(lambda: None)
    with app.override(dsn=other_database):
        note.enqueue()
        client = app.client
    assert not client._own_pool._idle
