"""A nightly report: a schedule in the time zone of its readers, on a night when the clocks change.

DATABASE_URL=postgresql://user@host/database python examples/nightly_report.py
"""

import logging
from datetime import UTC, datetime

import underway_pg as underway

logging.getLogger("underway_pg").setLevel(logging.ERROR)

app = underway.App()


@app.schedule(
    "30 2 * * *",
    name="nightly report",
    time_zone="Europe/Berlin",
    arguments={"region": "eu"},
    catch_up="all",  # a report for each day, also for days without a worker
)
@app.job(queue="reports")
def report(context: underway.Context, region: str) -> str:
    return f"{context.schedule}: {region}, {'scheduled' if context.scheduled_at else 'not scheduled'}"


if __name__ == "__main__":
    print("declared:", *app.sync().schedules.created)

    # On 29 March 2026 the clocks in Berlin jump from 02:00 to 03:00: there is no 02:30.
    nights = app.client.cron_preview("30 2 * * *", "Europe/Berlin", after=datetime(2026, 3, 28, tzinfo=UTC), count=3)
    for night in nights:
        print(f"{night:%d %B %H:%M} UTC")

    task = app.client.run_schedule_now("nightly report")  # without waiting for the night
    app.run(drain=True)
    print(app.wait_for(task))
    app.close()

# Output:
# declared: nightly report
# 28 March 01:30 UTC
# 29 March 01:00 UTC
# 30 March 00:30 UTC
# nightly report: eu, scheduled
