"""Exactly once: the writes of a handler and the completion of its task commit together, or not at all.

The first attempt of one transfer fails between its two updates. A second transfer is cancelled between them.

DATABASE_URL=postgresql://user@host/database python examples/transaction.py
"""

import logging

import psycopg

import underway_pg as underway

logging.getLogger("underway_pg").setLevel(logging.ERROR)  # the failure here is intended

app = underway.App()


@app.job(queue="transfers", retry=underway.RetryPolicy(max_attempts=3, initial_interval=0))
def transfer(context: underway.Context, source: str, target: str, amount: int, cancelled: bool = False) -> None:
    with context.transaction() as connection:
        add(connection, source, -amount)
        if cancelled:
            app.cancel(context.id)  # as an operator might do at that moment
        elif context.attempt == 1:
            raise ConnectionError("the power failed")
        context.output = {target: add(connection, target, amount)}


def add(connection: psycopg.Connection, name: str, amount: int) -> int:
    query = "update bank.account set balance = balance + %s where name = %s returning balance"
    return connection.execute(query, (amount, name)).fetchone()[0]


if __name__ == "__main__":
    with app, psycopg.connect(app.dsn, autocommit=True) as connection:
        connection.execute("create schema bank")
        connection.execute("create table bank.account (name text primary key, balance integer)")
        connection.execute("insert into bank.account values ('ada', 100), ('grace', 100)")
        try:
            tasks = [
                transfer.enqueue("ada", "grace", 30),
                transfer.enqueue("ada", "grace", 50, cancelled=True),
            ]
            app.run(drain=True)
            for task in map(app.task, tasks):
                print(
                    f"transfer of {task.input['amount']}: {task.state} in attempt {task.attempt}, output {task.output}"
                )
            for name, balance in connection.execute("select name, balance from bank.account order by name"):
                print(f"{name} has {balance}")
        finally:
            connection.execute("drop schema bank cascade")

# Output:
# transfer of 30: succeeded in attempt 2, output {'grace': 130}
# transfer of 50: cancelled in attempt 1, output None
# ada has 70
# grace has 130
