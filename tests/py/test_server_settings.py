"""Settings of a database that are legal and unusual do not change what the functions do."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.servers import Server
from underway_pg import schema

NOW = "to_timestamp(1894708800)"  # 2030-01-15 12:00 UTC

# Every call of a life of tasks. The clock is stopped, so that times can be compared. Answers are in a form that no
# setting changes, such as JSON and seconds since 1970.
LIFE = [
    "select underway.create_queue('dead')",
    """select underway.create_queue(E'it''s "q" \\\\ n', dead_letter_queue => 'dead', timeout => '90 minutes',
        max_running => 5, rate_limit => 50, rate_period => '1 hour 30 minutes',
        retry_policy => underway.retry_policy(initial_interval => '1 minute', max_interval => '1 day', jitter => 0))""",
    "select underway.create_queue('plain', retention => '3 days', keep_history => true)",
    "select underway.create_queue('fair', fair => true, max_length => 100)",
    # enqueue
    "select underway.enqueue('plain')",
    """select underway.enqueue('plain', jsonb_build_object('path', 'C:' || chr(92) || 'new', 'n', 0.1::float8),
        job => 'send', delay => '1 day 2 hours', headers => '{"a": [null, true]}')""",
    "select underway.enqueue_many('plain', array['1', '2']::jsonb[], unique_keys => array['u', null])",
    "select underway.enqueue_many('plain', array['1', '2']::jsonb[], unique_keys => array['u', 'v'])",
    "select underway.enqueue_many('plain', array['1', '2']::jsonb[], unique_keys => array[null, null]::text[])",
    "select underway.enqueue('plain', unique_key => 'null') = underway.enqueue('plain', unique_key => 'null')",
    """select to_jsonb(e) from underway.enqueue_unique('plain', array['3']::jsonb[], array['u'],
        on_conflict => 'replace', unique_for => '1 hour') e""",
    """select underway.enqueue_many(jsonb_build_array(
        jsonb_build_object('queue', 'plain', 'run_at', '2031-05-06T07:08:09+00:00', 'timeout', '1:30', 'priority', 3),
        jsonb_build_object('queue', E'it''s "q" \\\\ n', 'concurrency_key', E'k\\\\y',
            'retry_policy', jsonb_build_object('initial_interval', 'PT2H', 'jitter', 0))))""",
    "select underway.enqueue('fair', concurrency_key => k) from unnest(array['a', 'a', 'b']) as k",
    "select underway.enqueue('plain', after => array[1]::bigint[], after_failure => 'fail')",
    """select underway.enqueue_batch('[{"queue": "plain"}, {"queue": "plain"}]', on_success => '{"queue": "plain"}')
        is null""",
    # claim and settle
    """select to_jsonb(c) - 'lease' - 'timeout' - 'heartbeat'
        || jsonb_build_object('timeout', extract(epoch from c.timeout))
        from underway.dequeue(array[E'it''s "q" \\\\ n', 'plain', 'fair'], 100) c order by c.id""",
    """select extract(epoch from underway.fail(id, lease, jsonb_build_object('message', 'C:' || chr(92) || 'new')))
        from underway.task where queue like 'it%' and state = 'in_progress'""",
    "select underway.fail(id, lease, '\"no\"', retryable => false) from underway.task where id = 3",
    "select underway.snooze(id, lease, '1 hour') is null from underway.task where id = 4",
    "select underway.release(id, lease) is null from underway.task where id = 5",
    """select done.id from
        (select array_agg(id) as ids, array_agg(lease) as leases,
            array_agg(jsonb_build_object('a', chr(233))) as outputs
            from underway.task where state = 'in_progress') held,
        underway.complete_many(held.ids, held.leases, held.outputs) as done (id) order by 1""",
    "select underway.cancel(2), underway.retry(2)",
    "select underway.reschedule(2, timestamptz '2030-02-01 00:00:00+00') is null",
    "select underway.reprioritize(2, 7)",
    "select underway.pause_queue('plain'), underway.resume_queue('plain'), underway.pause_key('fair', 'a')",
    # schedules
    f"select extract(epoch from underway.cron_next('*/5 8-17 * * Mon-Fri', 'Europe/Berlin', {NOW}))",
    f"select extract(epoch from t) from underway.cron_preview('0 30 9 LW * ? 2030-2031', 'Asia/Kathmandu', {NOW}, 3) t",
    "select extract(epoch from underway.schedule('nightly', 'plain', '@daily[America/Los_Angeles]', input => '[1]'))",
    "select extract(epoch from underway.schedule('hourly', 'plain', E'7\\t*  * * *', time_zone => 'Pacific/Chatham'))",
    "select underway.schedule('bad', 'plain', 'x y z')",
    "select underway.run_schedule_now('nightly') is null",
    # views
    """select to_jsonb(q) - 'retry_policy' - 'timeout' - 'heartbeat' - 'retention' - 'rate_period'
        || jsonb_build_object('timeout', extract(epoch from q.timeout)) from underway.queue_stats q order by queue""",
    "select to_jsonb(l) from underway.task_list l order by id",
    "select to_jsonb(i) from underway.task_list l, underway.task_info(l.id) i order by l.id",
    "select l.id, w.code, w.reason, w.details from underway.task_list l, underway.why(l.id) w order by 1, 2",
    "select to_jsonb(s) - 'jitter' from underway.schedule_stats s order by schedule",
    "select to_jsonb(b) from underway.batch_stats b order by batch",
    "select underway.stats()",
    "select underway.next_wakeup(array['plain', 'fair']) is null",
    "select underway._run_chores()",
    "select underway.redrive('dead')",
    # errors
    "select underway.enqueue('nowhere')",
    "select underway.complete(1, '00000000-0000-0000-0000-000000000001')",
    "select underway.backoff(underway.retry_policy(), 0)",
    "select underway.register_worker('w', array['plain', 'nowhere'])",
    "select underway.register_worker('w', array['plain', null])",
    "select underway.register_worker(E'w\\\\1', array['plain'], 4)",
    "select to_jsonb(w) from underway.worker_stats w",
    # the end
    "select underway.drop_queue('plain')",
    "select underway.drop_queue('plain', force => true)",
    "select state, count(*), sum(attempt) from underway.task_list group by 1 order by 1",
    "select errors #>> array['0', 'message'] from underway.task_history where errors is not null order by 1",
]


# Each group is set in one database. Styles change how texts are printed, so that only values are compared there.
GROUPS = {
    "texts": {
        "standard_conforming_strings": "off",
        "escape_string_warning": "off",
        "backslash_quote": "off",
        "array_nulls": "off",
        "bytea_output": "escape",
        "extra_float_digits": "-15",
        "quote_all_identifiers": "on",
        "transform_null_equals": "on",
        "search_path": "pg_temp, public",
        "row_security": "off",
        "check_function_bodies": "on",
        "xmloption": "document",
        "session_replication_role": "replica",
    },
    "plpgsql": {
        "plpgsql.variable_conflict": "use_column",
        "plpgsql.extra_errors": "all",
        "plpgsql.extra_warnings": "all",
        "plpgsql.check_asserts": "on",
    },
    "plpgsql variables": {"plpgsql.variable_conflict": "use_variable", "plan_cache_mode": "force_custom_plan"},
    "planner": {
        "work_mem": "64kB",
        "plan_cache_mode": "force_generic_plan",
        "jit": "on",
        "jit_above_cost": "0",
        "from_collapse_limit": "1",
        "join_collapse_limit": "1",
        "geqo_threshold": "2",
        "cursor_tuple_fraction": "1",
        "parallel_setup_cost": "0",
        "parallel_tuple_cost": "0",
        "min_parallel_table_scan_size": "0",
        "default_statistics_target": "1",
        "enable_seqscan": "off",
        "enable_indexscan": "off",
        "enable_nestloop": "off",
        "enable_hashjoin": "off",
        "enable_sort": "off",
        "enable_hashagg": "off",
    },
    "sequential scans": {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"},
    "styles": {"datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "timezone": "Pacific/Chatham"},
    "other styles": {"datestyle": "German", "intervalstyle": "iso_8601", "timezone": "America/St_Johns"},
}

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?")


def in_utc(value: Any) -> Any:
    """A value in which each time is the same whatever the time zone of the session that printed it."""
    if isinstance(value, str):
        return TIME.sub(lambda found: datetime.fromisoformat(found[0]).astimezone(UTC).isoformat(" "), value)
    if isinstance(value, dict):
        return {key: in_utc(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [in_utc(item) for item in value]
    return value


def live(dsn: str) -> list[Any]:
    """The answers to all calls of LIFE: rows, or the SQLSTATE and the message of an error."""
    answers: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"create or replace function underway._clock() returns timestamptz language sql volatile as 'select {NOW}'"
        )
        for call in LIFE:
            try:
                answers.append(in_utc(connection.execute(call.encode()).fetchall()))
            except psycopg.Error as error:
                answers.append((error.sqlstate, in_utc(error.diag.message_primary)))
    return answers


@pytest.fixture(scope="module")
def expected(server: Server) -> list[Any]:
    """The answers in a database with the settings of a new cluster."""
    with server.new_database() as dsn:
        schema.migrate(dsn)
        return live(dsn)


def test_calls_are_answered_with_the_settings_of_a_new_cluster(expected: list[Any]) -> None:
    refused = [answer[0] for answer in expected if isinstance(answer, tuple)]
    assert refused == ["UW008", "UW003", "UW002", "UW001", "UW003", "UW003", "UW006"], expected


@pytest.mark.parametrize("group", GROUPS)
def test_settings_of_the_database_change_no_answer(server: Server, expected: list[Any], group: str) -> None:
    with server.new_database() as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for setting, value in GROUPS[group].items():
                connection.execute(
                    sql.SQL("alter database {} set {} = {}").format(
                        sql.Identifier(connection.info.dbname),
                        sql.SQL(setting),
                        # A list of schemas is a list of names, not one name.
                        sql.SQL(value) if setting == "search_path" else sql.Literal(value),
                    )
                )
        schema.migrate(dsn)
        assert schema.migrate(dsn) == schema.MigrationPlan(migrations=(), functions=False)
        answers = live(dsn)
    different = {
        call: [pair for pair in zip_longest(wanted, answer) if pair[0] != pair[1]]
        for call, wanted, answer in zip(LIFE, expected, answers, strict=True)
        if answer != wanted
    }
    assert different == {}
