"""Tasks, queues and jobs with contents that attack the person who views them."""

from __future__ import annotations

import json
from typing import Any

import psycopg

MARKUP = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'><svg onload=window.hacked=3>"
END = "</script></textarea></title></style></pre>--><script>window.hacked = 4</script>"
ATTRIBUTE = "\" onmouseover=\"window.hacked=5\" autofocus onfocus='window.hacked=6' x='"
TEMPLATE = "{{ 7 * 7 }} {% raw %} ${7*7} #{7*7}"
ADDRESS = "javascript:window.hacked=7//"
RIGHT_TO_LEFT = "invoice_\u202egnp.exe \u2066\u2067\u061c\u200b\u2028\u2029\ufeff"
TERMINAL = "\x1b[31mred\x1b[0m\x07\x1b]0;title\x07\x9b31m\r\n\b\b\b"
SURROGATES = r"\ud83d \udca9 \u0000 %00 \x00 &#0; \u202e"

TEXTS = [
    MARKUP,
    END,
    ATTRIBUTE,
    TEMPLATE,
    ADDRESS,
    RIGHT_TO_LEFT,
    TERMINAL,
    SURROGATES,
    "\ufffe\uffff\U0010ffff",
    "ﷺ" * 50,
]

# JSON texts as another program may enqueue them.
INPUTS = {
    "texts": json.dumps({text: text for text in TEXTS} | {"__proto__": {"x": 1}, "constructor": 1, "": ""}),
    "deep": "[" * 5000 + "]" * 5000,
    "deep objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "wide": json.dumps({f"key {n}": n for n in range(20_000)}),
    "long": json.dumps(MARKUP * 10_000),  # about a megabyte
    "one word": json.dumps("x" * 1_000_000),
    "numbers": "[1e400, -0, 1" + "0" * 5000 + ", 0.1e-300]",
    "only markup": json.dumps(MARKUP),
    "address": json.dumps({"href": ADDRESS, "url": "data:text/html,<script>window.hacked=8</script>"}),
    "empty": "{}",
    "null": "null",
}
# Names that queues may have, with characters that mean something in an address or in HTML.
NAMES = [
    "..",
    ".",
    "a/../b",
    "a/pause",
    "%2e%2e",
    "?x=1&y=2",
    "#top",
    "a b+c",
    "<b>bold</b>",
    "\"'`",
    "\\..\\",
    "ä€😀",
    "one",
    "edit",
    ADDRESS,
    "x" * 128,
]


def fill(dsn: str) -> dict[str, int]:
    """Store all that; gives the ids of the tasks by what is hostile about them."""
    tasks: dict[str, int] = {}
    with psycopg.connect(dsn, autocommit=True) as connection:

        def value(sql: str, **parameters: Any) -> Any:
            cursor = connection.execute(sql.encode(), parameters)
            row = cursor.fetchone() if cursor.description else None
            return None if row is None else row[0]

        value("select underway.configure(max_input_size => '4 MB')")
        value("select underway.create_queue('hostile-dead')")
        value("select underway.create_queue('hostile', dead_letter_queue => 'hostile-dead')")
        for name in NAMES:
            value("select underway.create_queue(%(name)s)", name=name)
            value("select underway.register_job(%(name)s, %(name)s, owner => %(owner)s)", name=name, owner=MARKUP)
            value("select underway.schedule(%(name)s, %(name)s, '0 3 * * *', input => to_jsonb(%(text)s::text))",
                  name=name, text=MARKUP)  # fmt: skip
            value("select underway.pause_key(%(name)s, %(key)s)", name=name, key=name + MARKUP)
        for name, text in INPUTS.items():
            tasks[name] = value(
                "select underway.enqueue('hostile', %(input)s::jsonb, job => %(job)s, concurrency_key => %(key)s,"
                " unique_key => %(unique)s, headers => jsonb_build_object(%(job)s::text, %(key)s::text))",
                input=text, job=MARKUP[:200], key=(RIGHT_TO_LEFT + END)[:200], unique=name + ATTRIBUTE,
            )  # fmt: skip
        for name, text in [
            ("fails", MARKUP),
            ("fails long", END * 5000),
            ("fails in colour", TERMINAL + RIGHT_TO_LEFT),
        ]:
            tasks[name] = value("select underway.enqueue('hostile', '{}', job => 'hostile', priority => 50)")
            error = {"type": text[:300], "message": text, "traceback": text * 3, "attempt": MARKUP}
            value(
                "select underway.fail(id, lease, %(error)s::jsonb, false) from underway.dequeue('hostile', 1)",
                error=json.dumps(error),
            )
        running = value("select id from underway.dequeue('hostile', 1)")
        value("select underway.report_progress(id, lease, %(text)s::jsonb) from underway.task where id = %(id)s",
              id=running, text=json.dumps(TEXTS))  # fmt: skip
        worker = value("select underway.register_worker(%(name)s, '{hostile}', version => %(name)s)", name=MARKUP[:200])
        value("update underway.worker set skipped_jobs = %(jobs)s where id = %(id)s", id=worker, jobs=TEXTS)
        tasks["batch"] = value(
            'select underway.enqueue_batch(\'[{"queue": "hostile"}]\', name => %(name)s)', name=END[:200]
        )
        value("select underway.record_action(%(text)s, 'dashboard', %(text)s, to_jsonb(%(text)s::text))", text=MARKUP)
        value("select underway.maintain()")
    return tasks
