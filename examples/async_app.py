"""Everything in one event loop: an async job, its worker, and the code that waits for the results.

DATABASE_URL=postgresql://user@host/database python examples/async_app.py
"""

import asyncio

import underway_pg as underway

app = underway.App()


@app.job(queue="reports")
async def count_words(text: str) -> int:
    await asyncio.sleep(0)  # a real job would await a web service here
    return len(text.split())


async def main() -> None:
    async with app, asyncio.TaskGroup() as group:
        worker = await app.worker_async(concurrency=100)  # async handlers that wait cost little
        group.create_task(worker.run())

        texts = ["to be or not to be", "that is the question", "words words words"]
        tasks = await count_words.enqueue_many_async({"text": text} for text in texts)
        counts = await asyncio.gather(*(task.result(timeout=30) for task in tasks))
        for text, count in zip(texts, counts, strict=True):
            print(f"{count} words: {text}")

        worker.stop()


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# 6 words: to be or not to be
# 4 words: that is the question
# 3 words: words words words
