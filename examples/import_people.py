"""An import as a batch: pages are imported in parallel, and a callback runs when all of them are done.

DATABASE_URL=postgresql://user@host/database python examples/import_people.py
"""

import csv
import logging
from pathlib import Path

import psycopg

import underway_pg as underway

logging.getLogger("underway_pg").setLevel(logging.CRITICAL)

app = underway.App()
PEOPLE = Path(__file__).with_name("people.csv")
PAGE = 8


@app.job(queue="import")
def import_page(context: underway.Context, number: int, rows: list[dict[str, str]]) -> int:
    with context.transaction() as connection:  # the rows of a page are inserted exactly once
        for row in rows:
            connection.execute("insert into person values (%(id)s, %(name)s, %(email)s)", row)
        context.output = len(rows)
    return len(rows)


@app.job(queue="import")
def publish(context: underway.Context) -> str:
    batch = app.client.batch(context.batch)
    with psycopg.connect(app.dsn) as connection:
        people = connection.execute("select count(*) from person").fetchone()[0]
    return f"{batch.name}: {batch.succeeded} of {batch.tasks} pages are imported, {people} people"


@app.job(queue="import")
def report_failure(context: underway.Context) -> str:
    batch = app.client.batch(context.batch)
    return f"{batch.name}: {batch.failed} of {batch.tasks} pages failed"


if __name__ == "__main__":
    with psycopg.connect(app.dsn) as connection:
        connection.execute("drop table if exists person")
        connection.execute("create table person (id integer primary key, name text, email text)")

    with PEOPLE.open(encoding="utf-8") as file:
        people = list(csv.DictReader(file))
    pages = [people[start : start + PAGE] for start in range(0, len(people), PAGE)]
    pages[1][0]["id"] = "one"  # not an integer: this page fails

    batch = app.client.enqueue_batch(
        [import_page.options(retry=underway.RetryPolicy(max_attempts=1)).task(n, rows) for n, rows in enumerate(pages)],
        on_success=publish.task(),
        on_failure=report_failure.task(),
        name="people.csv",
    )
    app.run(drain=True)
    now = app.client.batch(batch)
    print(f"{now.state}: {now.progress:.0%} is final, {now.failed} failed")
    print(app.wait_for(now.on_failure))

    # Correct the table and retry the page. The batch succeeds when its last task has succeeded.
    failed = next(task for task in app.client.tasks(queue="import", state="failed"))
    with psycopg.connect(app.dsn) as connection:
        connection.execute("alter table person alter id type text")
    app.client.retry(failed.id)
    app.run(drain=True)
    print(app.wait_for(now.on_success))
    app.close()

# Output:
# failed: 100% is final, 1 failed
# people.csv: 1 of 5 pages failed
# people.csv: 5 of 5 pages are imported, 40 people
