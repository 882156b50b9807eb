"""Failures: the backoff, a delay that the handler chooses, a permanent failure, and the dead-letter queue.

DATABASE_URL=postgresql://user@host/database python examples/retries.py
"""

import asyncio
import logging

import underway_pg as underway

logging.getLogger("underway_pg").setLevel(logging.CRITICAL)  # the failures here are intended

app = underway.App(
    queues=[
        underway.Queue(
            name="payments",
            dead_letter_queue="payments-dead",
            retry=underway.RetryPolicy(max_attempts=3, initial_interval=0.2),
        )
    ]
)
closed_cards = {"4000"}


@app.job(queue="payments")
def charge(context: underway.Context, card: str) -> str:
    if card in closed_cards:
        raise underway.Fatal(f"card {card} is closed")  # no further attempt would help
    if context.attempt == 1:
        raise ConnectionError("the bank is unreachable")  # any exception: retried after the backoff
    if context.attempt == 2:
        raise underway.Retry("the bank is busy", after=0.5)  # retried after the time that the bank asked for
    return f"card {card} was charged in attempt {context.attempt}"


async def main() -> None:
    async with app, asyncio.TaskGroup() as group:
        client = await app.async_client()
        worker = await app.worker_async()
        group.create_task(worker.run())

        task = await charge.enqueue_async(card="4242")
        print(await task.result(timeout=30))
        for error in (await client.task(task)).errors:
            print(f"  earlier attempt: {error['type']}: {error['message']}")

        task = await charge.enqueue_async(card="4000")
        try:
            await task.result(timeout=30)
        except underway.TaskFailed as failed:
            print(failed)
        for letter in await client.tasks(queue="payments-dead"):
            print(f"  in {letter.queue}: task {letter.dead_letter_of}")

        closed_cards.clear()
        print(f"  {await client.redrive('payments-dead')} dead letter was moved back")
        print(await task.result(timeout=30))

        worker.stop()


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# card 4242 was charged in attempt 3
#   earlier attempt: ConnectionError: the bank is unreachable
#   earlier attempt: Retry: the bank is busy
# task 2 failed: Fatal: card 4000 is closed
#   in payments-dead: task 2
#   1 dead letter was moved back
# card 4000 was charged in attempt 3
