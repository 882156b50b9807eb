"""JSON of tasks: what is shown, how much of it, and what redaction hides."""

import json
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import psycopg
import pytest
from starlette.testclient import TestClient

import underway_pg as underway
from underway_pg.dashboard import Dashboard, json_view
from underway_pg.dashboard.redaction import MARK, Redaction, hide_in_text

HERE = {"Sec-Fetch-Site": "same-origin"}
SECRET = "hunter2-hunter2"
INPUT = {
    "user": "ada",
    "Password": SECRET,
    "card": {"number": "4111111111111111", "name": "A. Lovelace"},
    "users": [{"email": "ada@example.com"}, {"email": "grace@example.com"}],
    "pin": 4,
}
RULES = ["password", "$.card.number", "$.users[*].email", "pin"]


def text_of(tree: json_view.Tree) -> str:
    return "".join(ElementTree.fromstring(f"<div>{tree.html}</div>".replace(" open>", ">")).itertext())


# The tree


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5e300, "", "text", "<script>alert(1)</script>", "\"'&", "a\nb\u2028\x7f\u202e", [], {}, [[], {}],
     {"": 1, "<b>": {"</details>": [1]}}, 10**400],
)  # fmt: skip
def test_any_value_is_shown_as_text(value: Any) -> None:
    tree = json_view.tree(value)
    assert "<script" not in tree.html
    assert "<b>" not in tree.html
    text_of(tree)
    assert not tree.cut


def test_a_tree_shows_keys_values_and_sizes() -> None:
    tree = json_view.tree({"to": "ada@example.com", "parts": [1, None]})
    assert text_of(tree) == '{ } 2 keysto "ada@example.com"parts [ ] 2 items0 11 null'


def test_a_wide_value_is_cut_and_says_how_much_is_missing() -> None:
    tree = json_view.tree([{"n": i} for i in range(5000)])
    assert tree.cut
    assert len(tree.html) < 300_000
    assert re.search(r"\d,\d{3} more not shown", tree.html)


def test_a_deep_value_is_cut() -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    tree = json_view.tree(value)
    assert tree.cut
    assert tree.html.count("<details") == json_view.MAX_DEPTH + 1
    text_of(tree)


def test_a_long_text_is_cut() -> None:
    tree = json_view.tree({"body": "x" * 1_000_000})
    assert tree.cut
    assert len(tree.html) < 5_000
    assert "1,000,000 characters" in tree.html


@pytest.mark.parametrize(
    "text", ["[" * 200 + "]" * 200, "[" * 100_000 + "]" * 100_000, "9" * 5000, '{"a":' * 300 + "1" + "}" * 300]
)
def test_a_value_that_would_exhaust_the_stack_is_not_parsed(text: str) -> None:
    assert json_view.parse(text) == (text, False)


def test_what_can_be_parsed_is() -> None:
    nested = json.dumps(json.loads("[" * 100 + "]" * 100))
    assert json_view.parse(nested) == (json.loads(nested), True)
    assert json_view.parse('"[[["') == ("[[[", True)
    assert json_view.parse(None) == (None, True)


# Redaction


def test_rules_hide_keys_in_any_case_and_paths() -> None:
    shown = Redaction(RULES).apply(INPUT)
    assert shown == {
        "user": "ada",
        "Password": MARK,
        "card": {"number": MARK, "name": "A. Lovelace"},
        "users": [{"email": MARK}, {"email": MARK}],
        "pin": MARK,
    }
    assert INPUT["Password"] == SECRET


def test_a_key_may_have_a_wildcard_and_hides_all_that_is_below() -> None:
    shown = Redaction(["*_token", "secrets"]).apply({"api_token": 1, "secrets": {"a": [1, 2]}, "token": 2})
    assert shown == {"api_token": MARK, "secrets": MARK, "token": 2}


def test_texts_lose_what_the_rules_hide_but_not_short_values() -> None:
    secrets = Redaction(RULES).secrets(INPUT)
    assert secrets == {SECRET, "4111111111111111", "ada@example.com", "grace@example.com"}
    assert hide_in_text(f"login({SECRET!r}) failed 4 times", secrets) == "login('redacted') failed 4 times"


def test_an_edited_value_gets_the_hidden_ones_back_only_where_they_were() -> None:
    redaction = Redaction(RULES)
    edited = redaction.apply(INPUT)
    edited["user"] = MARK
    edited["card"] = {"number": MARK, "copy": MARK}
    assert redaction.restore(edited, INPUT) == {
        **INPUT, "user": MARK, "card": {"number": "4111111111111111", "copy": MARK},
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["$", "$card", "$.card..number", "$.card[x]", "$."])
def test_a_path_that_cannot_be_read_is_refused(rule: str) -> None:
    with pytest.raises(underway.ConfigurationError, match=re.escape(rule)):
        Redaction([rule])


# In the dashboard


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.create_queue('mail')")
        yield connection


def client_of(database: str, **settings: Any) -> Iterator[TestClient]:
    dashboard = Dashboard(database, local=True, **settings)
    yield TestClient(dashboard, base_url="http://127.0.0.1", client=("127.0.0.1", 1), follow_redirects=False)
    dashboard.close()


@pytest.fixture
def client(database: str) -> Iterator[TestClient]:
    yield from client_of(database)


@pytest.fixture
def redacting(database: str) -> Iterator[TestClient]:
    yield from client_of(database, redact=RULES)


def failed(connection: psycopg.Connection[Any], input: str) -> int:
    """A task with this input, whose attempt has failed with a secret in its error."""
    id = connection.execute("select underway.enqueue('mail', %s::jsonb)", [input]).fetchall()[0][0]
    lease = connection.execute("select lease from underway.dequeue('mail', 1)").fetchall()[0][0]
    error = {"type": "LoginError", "message": f"wrong: {SECRET}", "traceback": f'File "x.py"\n  login("{SECRET}")'}
    connection.execute(
        "select underway.fail(%s, %s::uuid, %s::jsonb, retryable => false)", [id, lease, json.dumps(error)]
    )
    return int(id)


def test_a_hidden_value_is_on_no_page(connection: psycopg.Connection[Any], redacting: TestClient) -> None:
    id = failed(connection, json.dumps(INPUT))
    for path in (f"/tasks/{id}", "/tasks", f"/tasks/{id}/raw/input", f"/tasks/{id}/again"):
        response = redacting.get(path)
        assert response.status_code == 200
        assert MARK in response.text
        for secret in (SECRET, "4111111111111111", "grace@example.com"):
            assert secret not in response.text, path


def test_a_hidden_value_is_on_no_page_of_a_dead_letter(
    connection: psycopg.Connection[Any], redacting: TestClient
) -> None:
    connection.execute("select underway.create_queue('letters')")
    connection.execute("select underway.create_queue('mail', dead_letter_queue => 'letters')")
    failed(connection, json.dumps(INPUT))
    letter = connection.execute("select max(id) from underway.task_list").fetchall()[0][0]
    for path in (f"/tasks/{letter}", f"/tasks/{letter}/raw/dead_letter", "/dead-letters", "/failures"):
        response = redacting.get(path)
        assert response.status_code == 200
        assert SECRET not in response.text, path
    assert "became a dead letter" in redacting.get(f"/tasks/{letter}").text


def test_a_hidden_value_cannot_be_found_by_searching(
    connection: psycopg.Connection[Any], redacting: TestClient
) -> None:
    failed(connection, json.dumps(INPUT))
    for search in ({"input": '$.Password ? (@ starts with "h")'}, {"error": SECRET[:3]}):
        response = redacting.get("/tasks", params=search)
        assert response.status_code == 400
        assert "cannot be searched by their inputs or errors" in response.text
    filter = json.dumps({"state": ["failed"], "input": "$.Password"})
    response = redacting.get("/tasks/act", params={"all": "delete", "input": "$.Password"})
    assert response.status_code == 400
    csrf = re.findall(r'name="csrf" value="(\w+)"', redacting.get("/tasks").text)[0]
    data = {"csrf": csrf, "filter": filter, "before": "99", "total": "1"}
    response = redacting.post("/tasks/act/delete", data=data, headers=HERE, follow_redirects=True)
    assert "cannot be used" in response.text


def test_a_copy_keeps_the_hidden_values(connection: psycopg.Connection[Any], redacting: TestClient) -> None:
    id = failed(connection, json.dumps(INPUT))
    page = redacting.get(f"/tasks/{id}/again").text
    csrf = re.findall(r'name="csrf" value="(\w+)"', page)[0]
    edited = {**Redaction(RULES).apply(INPUT), "user": "grace"}
    response = redacting.post(f"/tasks/{id}/again", data={"csrf": csrf, "input": json.dumps(edited)}, headers=HERE)
    new = int(response.headers["location"].removeprefix("/tasks/"))
    assert connection.execute("select input from underway.task_info(%s)", [new]).fetchall()[0][0] == {
        **INPUT, "user": "grace",
    }  # fmt: skip


def test_an_input_that_cannot_be_redacted_is_not_shown(
    connection: psycopg.Connection[Any], redacting: TestClient, client: TestClient
) -> None:
    deep = "[" * 500 + f'{{"password": "{SECRET}"}}' + "]" * 500
    id = failed(connection, deep)
    page = redacting.get(f"/tasks/{id}")
    assert page.status_code == 200
    assert "nested too deeply to be redacted" in page.text
    assert SECRET not in page.text
    assert redacting.get(f"/tasks/{id}/raw/input").status_code == 403
    page = client.get(f"/tasks/{id}")
    assert "to be shown as a tree" in page.text
    assert SECRET in client.get(f"/tasks/{id}/raw/input").text


def test_the_raw_value_is_a_text_to_download(connection: psycopg.Connection[Any], client: TestClient) -> None:
    id = failed(connection, '{"a": "<script>alert(1)</script>"}')
    response = client.get(f"/tasks/{id}/raw/input")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.json() == {"a": "<script>alert(1)</script>"}
    assert client.get(f"/tasks/{id}/raw/errors").status_code == 404
    assert client.get("/tasks/999/raw/input").status_code == 404


def test_an_edited_input_that_is_no_json_is_refused_with_a_message(
    connection: psycopg.Connection[Any], client: TestClient
) -> None:
    id = failed(connection, "{}")
    csrf = re.findall(r'name="csrf" value="(\w+)"', client.get(f"/tasks/{id}/again").text)[0]
    for text in ("{", "[" * 1000, "NaN x", '"\\u0000"'):
        response = client.post(f"/tasks/{id}/again", data={"csrf": csrf, "input": text}, headers=HERE)
        assert response.status_code == 303
        assert 'class="flash bad"' in client.get("/tasks").text, text
