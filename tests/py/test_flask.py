"""The Flask extension: the configuration, and handlers in an application context."""

import flask
import pytest

import underway_pg as underway
from underway_pg.flask import Underway


def test_handlers_run_in_an_application_context_that_ends_with_the_attempt(database: str) -> None:
    app = underway.App(database)
    web = flask.Flask("shop")
    web.config["SHOP"] = "bakery"
    Underway(app, web)
    ended: list[str] = []
    web.teardown_appcontext(lambda error: ended.append(repr(error)))

    @app.job
    def in_a_thread() -> str:
        return flask.current_app.config["SHOP"]

    @app.job
    async def on_the_loop() -> str:
        return flask.current_app.config["SHOP"]

    @app.job(retry=underway.RetryPolicy(max_attempts=1))
    def fails() -> None:
        raise ValueError(flask.current_app.name)

    with app:
        tasks = [job.enqueue() for job in (in_a_thread, on_the_loop, fails)]
        app.run(drain=True)
        assert [task.wait(timeout=10) for task in tasks[:2]] == ["bakery", "bakery"]
        with pytest.raises(underway.TaskFailed, match="shop"):
            tasks[2].wait(timeout=10)
    assert sorted(ended) == ["None", "None", "ValueError('shop')"]
    assert not flask.has_app_context()


def test_an_application_factory_gives_the_database_and_the_context(database: str) -> None:
    app = underway.App()
    extension = Underway(app)

    @app.job
    def name() -> str:
        return flask.current_app.name

    def create_app(name: str) -> flask.Flask:
        web = flask.Flask(name)
        web.config["UNDERWAY_DSN"] = database
        extension.init_app(web)
        return web

    create_app("first")
    web = create_app("second")
    assert web.extensions["underway"] is app
    with app:
        task = name.enqueue()
        app.run(drain=True)
        assert task.wait(timeout=10) == "second"
        assert len(app.middleware) == 1


def test_a_worker_without_the_flask_application_says_what_to_call(database: str) -> None:
    app = underway.App(database)
    Underway(app)

    @app.job(retry=underway.RetryPolicy(max_attempts=1))
    def send() -> None: ...

    with app:
        task = send.enqueue()
        app.run(drain=True)
        with pytest.raises(underway.TaskFailed, match=r"call init_app\(web\) in the module that the worker imports"):
            task.wait(timeout=10)
