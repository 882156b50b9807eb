"""Which forms of a dsn are understood, what the environment says, and that no message shows a password."""

from __future__ import annotations

import traceback

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

from underway_pg import App, ConfigurationError, DatabaseUnavailable, connections
from underway_pg.connections.dsn import conninfo, dsn_of_pool, read_dsn

ENVIRONMENT = ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGDATABASE", "PGUSER", "PGAPPNAME")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg", "postgres+x"])
def test_the_driver_in_the_scheme_of_a_dsn_does_not_matter(scheme: str) -> None:
    found = conninfo_to_dict(read_dsn(f"{scheme}://me:secret@host:5433/shop?sslmode=disable"))
    expected = {"user": "me", "password": "secret", "host": "host", "port": "5433", "dbname": "shop"}
    assert found == {**expected, "sslmode": "disable"}


def test_an_at_sign_in_the_options_of_a_dsn_is_none_of_a_password() -> None:
    assert conninfo_to_dict(read_dsn("postgresql://host/shop?user=me@tenant"))["user"] == "me@tenant"
    assert conninfo_to_dict(read_dsn("postgresql://me:a?b@host/shop"))["password"] == "a?b"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:sekret%zz@host/shop",
        "postgresql://me:a@sekret@host/shop",
        "postgresql://me:a/sekret@host/shop",
        "postgresql://me:sekret@host/shop?ssl=require",
        "mysql://me:sekret@host/shop",
        "mysql+pymysql://me:sekret@host/shop",
        "me:sekret@host/shop",
        "host=h password=sekret shop",
        "postgresql://...",
        "postgresql://me:sekret@db..example/shop",
        "postgresql://me:sekret\udc80@host/shop",
    ],
)
def test_a_dsn_that_cannot_be_read_is_refused_without_its_password(dsn: str) -> None:
    app = App(dsn)
    for use in (lambda: app.client.stats(), lambda: app.dsn, app.migrate):
        with pytest.raises(ConfigurationError, match="write the dsn as postgresql://") as refused:
            use()
        assert "sekret" not in "".join(traceback.format_exception(refused.value))
        assert refused.value.__cause__ is None
        assert refused.value.__context__ is None


def test_a_server_that_refuses_a_login_does_not_make_the_password_known(database: str) -> None:
    app = App(make_conninfo(database, user="nobody_of_this_name", password="sekret"))
    with pytest.raises(DatabaseUnavailable, match="nobody_of_this_name") as unavailable:
        app.client.stats()
    assert "sekret" not in "".join(traceback.format_exception(unavailable.value))


def test_a_dsn_that_is_a_function_is_called_for_each_new_connection(database: str) -> None:
    passwords = iter(["first", "second", "third", "fourth"])
    used: list[str] = []

    def dsn() -> str:
        used.append(next(passwords))
        return make_conninfo(database, password=used[-1])

    with App(dsn) as app:
        app.client.stats()
        app.client.stats()
        assert used == ["first"]
        app.close()
        app.client.stats()
        assert used == ["first", "second"]


def test_a_function_that_returns_no_string_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the dsn is of type int"):
        App(lambda: 7).client.stats()  # type: ignore[arg-type,return-value]


def test_an_empty_database_url_is_no_database(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "")
    app = App()
    assert not app.has_dsn
    with pytest.raises(ConfigurationError, match=r"set DATABASE_URL=postgresql://.*App\(embedded=True\)"):
        app.client.stats()


def test_the_environment_is_read_at_the_first_use(environment: pytest.MonkeyPatch, database: str) -> None:
    app = App()
    environment.setenv("DATABASE_URL", database)
    with app:
        assert app.client.stats()
        assert app.dsn == database


def test_the_variables_of_libpq_say_where_the_database_is(environment: pytest.MonkeyPatch, database: str) -> None:
    found = conninfo_to_dict(database)
    for variable, key in (("PGHOST", "host"), ("PGPORT", "port"), ("PGDATABASE", "dbname"), ("PGUSER", "user")):
        environment.setenv(variable, str(found[key]))
    with App() as app:
        assert app.client.stats()


def test_a_database_and_an_embedded_one_are_refused(database: str) -> None:
    with pytest.raises(ConfigurationError, match="leave out one of them"):
        App(database, embedded=True)


def test_the_name_of_the_application_is_that_of_the_dsn_or_of_the_environment(
    environment: pytest.MonkeyPatch, database: str
) -> None:
    def name(dsn: str) -> str:
        with connections.connect(dsn, application_name="underway client") as connection:
            return connection.info.parameter_status("application_name") or ""

    assert name(database) == "underway client"
    environment.setenv("PGAPPNAME", "of the environment")
    assert name(database) == "of the environment"
    assert name(make_conninfo(database, application_name="of the dsn")) == "of the dsn"


def test_a_timeout_shortens_the_time_to_connect() -> None:
    def connect_timeout(dsn: str, timeout: float | None) -> object:
        return conninfo_to_dict(conninfo(dsn, "test", timeout))["connect_timeout"]

    assert connect_timeout("host=h", None) == "10"
    assert connect_timeout("host=h", 1.5) == "2"
    assert connect_timeout("host=h connect_timeout=1", 5) == "1"
    assert connect_timeout("host=h connect_timeout=0", 5) == "5"


def test_the_dsn_of_a_pool_has_its_keywords_for_libpq(database: str) -> None:
    kwargs = {
        "autocommit": True,
        "row_factory": psycopg.rows.dict_row,
        "password": "secret",
        "application_name": "mine",
    }
    pool = ConnectionPool(database, kwargs=kwargs, open=False)
    found = dsn_of_pool(pool)
    assert callable(found)
    given = conninfo_to_dict(found())
    assert (given["password"], given["application_name"]) == ("secret", "mine")
