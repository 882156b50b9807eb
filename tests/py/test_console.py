"""The console for operators over all shards, in a database with PL/Proxy, and the file that names the shards."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import SERVERS
from tests.py.support import refused
from tests.servers import Server
from tools import plproxy
from underway_pg import ConfigurationError
from underway_pg.cli import main
from underway_pg.console import router_sql
from underway_pg.shardfile import Shard, read_shards

# Where no server listens.
NOWHERE = "postgresql://somebody@127.0.0.1:1/app"

FIRST_OF_US = (1 << 44) + 1


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Path]]:
    """The first server that takes PL/Proxy, and a directory from which it loads it."""
    reason = "no server"
    servers = request.config.stash[SERVERS]
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        for source in reversed(servers.sources):  # the system's before that of the wheel, for which there is no package
            server = servers.get(source)
            try:
                with server.new_database() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
                    plproxy.load(connection, Path(directory))
            except plproxy.PlProxyError as error:
                reason = str(error)
                continue
            yield server, Path(directory)
            return
    pytest.skip(f"the console needs PL/Proxy: {reason}")


class Console:
    """A router and its two shards, eu and us, each with a queue mail and three tasks in it."""

    def __init__(self, dsn: str, shards: Sequence[Shard]) -> None:
        self.dsn = dsn
        self.shards = {shard.name: shard for shard in shards}
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.ids = {shard.name: self._fill(shard) for shard in shards}

    def _fill(self, shard: Shard) -> list[int]:
        with psycopg.connect(shard.dsn, autocommit=True) as connection:
            connection.execute("select underway.set_shard(%s)", [shard.number])
            connection.execute("select underway.create_queue('mail')")
            (row,) = connection.execute(
                "select underway.enqueue_many('mail', array['1', '2', '3']::jsonb[])"
            ).fetchall()
            ids: list[int] = row[0]
            return ids

    def install(self, shards: Sequence[Shard] | None = None) -> None:
        with psycopg.connect(self.shards["eu"].dsn) as connection:
            script = router_sql(connection, shards or list(self.shards.values()))
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(script.encode())
        self.connection.close()
        self.connection = psycopg.connect(self.dsn, autocommit=True)

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        """The rows of a query, those of one column as their values."""
        rows = self.connection.execute(sql.encode(), parameters).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def on(self, shard: str, sql: str) -> list[Any]:
        """The same, of a shard itself."""
        with psycopg.connect(self.shards[shard].dsn, autocommit=True) as connection:
            return [row[0] if len(row) == 1 else row for row in connection.execute(sql.encode()).fetchall()]


@pytest.fixture
def console(place: tuple[Server, Path]) -> Iterator[Console]:
    server, directory = place
    with ExitStack() as databases:
        eu, us, router = (
            databases.enter_context(database()) for database in (server.database, server.database, server.new_database)
        )
        with psycopg.connect(router, autocommit=True) as connection:
            plproxy.load(connection, directory)
        made = Console(router, [Shard(name="eu", number=0, dsn=eu), Shard(name="us", number=1, dsn=us)])
        databases.callback(lambda: made.connection.close())
        made.install()
        yield made


def test_the_lists_have_the_rows_of_all_shards_with_the_name_of_each(console: Console) -> None:
    assert console.rows("select shard, queue, ready from underway.queue_stats order by shard") == [
        ("eu", "mail", 3), ("us", "mail", 3),
    ]  # fmt: skip
    assert console.rows("select id from underway.tasks(max_tasks => 2)") == console.ids["us"][:0:-1]
    assert len(console.rows('select id from underway.tasks(\'{"state": ["pending"]}\')')) == 6
    assert [row["ready"] for row in console.rows("select underway.stats()")] == [3, 3]


def test_an_id_leads_to_its_shard(console: Console) -> None:
    for shard, ids in console.ids.items():
        assert console.rows("select id, queue from underway.task_info(%s)", ids[0]) == [(ids[0], "mail")]
        assert console.rows("select code from underway.why(%s)", ids[0]) == ["no_worker"]
        assert console.rows("select underway.cancel(%s)", ids[0]) == [True]
        console.rows("select underway.retry(%s)", ids[0])
        console.rows("select underway.reprioritize(%s, 7)", ids[0])
        assert console.on(shard, "select priority from underway.task_list order by id") == [7, 0, 0]
    assert console.ids["us"][0] == FIRST_OF_US


def test_an_id_of_an_unknown_shard_is_refused(console: Console) -> None:
    with refused("22023", "id 87960930222080 belongs to shard 5, which this console does not have"):
        console.rows("select underway.cancel(%s)", 5 << 44)


def test_what_names_no_id_runs_on_all_shards_or_on_those_that_are_chosen(console: Console) -> None:
    assert console.rows("select underway.pause_queue('mail')") == [True, True]
    console.connection.execute("set underway.shards = 'us'")
    assert console.rows("select underway.resume_queue('mail')") == [True]
    console.connection.execute("set underway.shards = 'eu, us'")
    assert console.rows("select shard from underway.queue_stats where paused_at is not null") == ["eu"]
    cancelled = console.rows("select underway.cancel_many(%s)", [console.ids["eu"][0], console.ids["us"][0]])
    assert sorted(cancelled) == [console.ids["eu"][0], console.ids["us"][0]]
    console.connection.execute("set underway.shards = 'mars'")
    with refused("22023", "underway.shards names the shard mars"):
        console.rows("select underway.stats()")


def test_a_schedule_goes_to_the_one_shard_that_is_chosen(console: Console) -> None:
    with refused("22023", "a schedule belongs to one shard"):
        console.rows("select underway.schedule('report', 'mail', '@daily')")
    console.connection.execute("set underway.shards = 'us'")
    console.rows("select underway.schedule('report', 'mail', '@daily')")
    console.connection.execute("reset underway.shards")
    assert console.rows("select shard, schedule from underway.schedule_stats") == [("us", "report")]


@pytest.mark.parametrize(
    "call",
    [
        "enqueue('mail')", "enqueue_many('mail', array['1']::jsonb[])", "enqueue_batch('[{\"queue\": \"mail\"}]')",
        "dequeue('mail')", "complete(1, gen_random_uuid())", "heartbeat('{1}', array[gen_random_uuid()])",
        "register_worker('w', '{mail}')", "watch(1)",
    ],
)  # fmt: skip
def test_producers_and_workers_are_refused_and_nothing_changes(console: Console, call: str) -> None:
    with refused("0A000", "does not run through this console: each of its calls commits at once"):
        console.rows(f"select underway.{call}")
    assert console.rows("select state, attempt from underway.tasks()") == [("pending", 0)] * 6


def test_every_public_function_is_there_with_its_arguments(console: Console) -> None:
    public = """select p.proname || '(' || pg_get_function_arguments(p.oid) || ')' from pg_proc p
        where p.pronamespace = 'underway'::regnamespace and p.proname not like '\\_%' and p.proname <> 'tasks'
        and (has_function_privilege('underway_producer', p.oid, 'execute')
            or has_function_privilege('underway_worker', p.oid, 'execute')
            or has_function_privilege('underway_operator', p.oid, 'execute')
            or has_function_privilege('underway_observer', p.oid, 'execute')) order by 1"""
    assert console.on("eu", public) == [row[0] for row in console.connection.execute(public)]


def test_each_function_without_required_arguments_is_understood_by_its_shards(console: Console) -> None:
    names = console.rows(
        """select p.proname from pg_proc p join pg_language l on l.oid = p.prolang
        where p.pronamespace = 'underway'::regnamespace and l.lanname = 'plproxy' and p.pronargs = p.pronargdefaults"""
    )
    assert len(names) > 20
    names.remove("stop_workers")  # which wants one of its arguments
    for name in names:
        console.rows(f"select * from underway.{name}()")


def test_the_error_of_a_shard_keeps_its_code(console: Console) -> None:
    with refused("UW005", f"task {FIRST_OF_US} is pending"):
        console.rows("select underway.retry(%s)", FIRST_OF_US)


def test_a_shard_that_is_away_is_named_and_the_others_can_be_chosen(console: Console) -> None:
    console.install([console.shards["eu"], Shard(name="us", number=1, dsn=NOWHERE.replace("somebody", "postgres"))])
    with pytest.raises(psycopg.Error, match=r"\[app\] PQconnectPoll"):
        console.rows("select underway.stats()")
    console.connection.execute("set underway.shards = 'eu'")
    assert console.rows("select shard, ready from underway.queue_stats") == [("eu", 3)]


def test_a_shard_that_does_not_answer_ends_at_the_statement_timeout(console: Console) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/app"
        console.install([console.shards["eu"], Shard(name="us", number=1, dsn=dsn)])
        assert console.rows("show statement_timeout") == ["15s"]
        console.connection.execute("set statement_timeout = '200ms'")
        with refused("57014"):
            console.rows("select underway.stats()")


def test_it_can_be_installed_again(console: Console) -> None:
    console.install()
    assert len(console.rows("select underway.stats()")) == 2


def test_a_database_with_queues_is_not_made_a_console(console: Console) -> None:
    eu = console.shards["eu"].dsn
    with psycopg.connect(eu) as connection, pytest.raises(psycopg.Error, match="has queues of its own"):
        connection.execute(router_sql(connection, list(console.shards.values())).encode())
    assert console.on("eu", "select count(*) from underway.task_list") == [3]


def test_an_observer_reads_and_cannot_change(console: Console) -> None:
    console.connection.execute("set role underway_observer")
    assert len(console.rows("select id from underway.tasks()")) == 6
    assert len(console.rows("select shard from underway.queue_stats")) == 2
    with refused("42501"):
        console.rows("select underway.pause_queue('mail')")


def test_the_passwords_of_the_shards_are_in_no_public_catalogue(console: Console) -> None:
    shards = [
        Shard(name=name, number=shard.number, dsn=make_conninfo(shard.dsn, password="se'cret"))
        for name, shard in console.shards.items()
    ]
    console.install(shards)
    assert "cret" not in str(console.rows("select srvoptions from pg_foreign_server"))
    console.connection.execute("set role underway_operator")
    assert console.rows("select umoptions from pg_user_mappings") == [None]
    assert len(console.rows("select underway.stats()")) == 2


def test_shards_with_several_accounts_are_refused(console: Console) -> None:
    other = make_conninfo(console.shards["us"].dsn, user="other")
    shards = [console.shards["eu"], Shard(name="us", number=1, dsn=other)]
    with pytest.raises(ConfigurationError, match="one account for all shards"):
        console.install(shards)


# The command


@pytest.fixture
def shard_file(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str) -> Path:
        path = tmp_path / "shards.toml"
        path.write_text(text)
        return path

    return write


def test_the_command_reads_the_catalogue_of_a_shard_that_can_be_reached(
    database: str, shard_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    user = conninfo_to_dict(database)["user"]
    nowhere = NOWHERE.replace("somebody", str(user))
    path = shard_file(f'[eu]\nnumber = 0\ndsn = "{nowhere}"\n\n[us]\nnumber = 7\ndsn = "{database}"\n')
    assert main(["console", "--sql", "--shards", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("-- The console of operators")
    assert "(0, 'eu', 0), (7, 'us', 1)" in out
    assert err.startswith("underway: eu: ")
    assert len(err.splitlines()) == 1


def test_the_command_says_what_is_missing(shard_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = shard_file(f'[eu]\nnumber = 0\ndsn = "{NOWHERE}"\n')
    assert main(["console", "--shards", str(path)]) == 2
    assert "add --sql" in capsys.readouterr().err
    assert main(["console", "--sql", "--shards", str(path)]) == 1
    assert "no shard can be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no shard"),
        ("[eu", "is not TOML"),
        ("[eu]\nnumber = 0\n", "eu is not a table with number and dsn alone"),
        ("eu = 1\n", "eu is not a table with number and dsn alone"),
        ('[eu]\nnumber = 512\ndsn = ""\n', "the number of eu is 512"),
        ('[eu]\nnumber = "0"\ndsn = ""\n', "the number of eu is '0'"),
        ('["e u"]\nnumber = 0\ndsn = ""\n', "'e u' is no name of a shard"),
        ('[eu]\nnumber = 0\ndsn = "mysql://a:secret@b/c"\n', "eu: the dsn is not one of PostgreSQL"),
        ("[eu]\nnumber = 0\ndsn = 5\n", "eu: the dsn is of type int"),
        ('[eu]\nnumber = 3\ndsn = ""\n[us]\nnumber = 3\ndsn = ""\n', "eu and us have the same number, 3"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(shard_file: Callable[..., Path], text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        read_shards(shard_file(text))
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_shards(tmp_path / "none.toml")
