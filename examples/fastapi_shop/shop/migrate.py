"""Create or upgrade the tables of the shop, the schema of the queue, and what the jobs declare.

python -m shop.migrate
"""

import asyncio

from .database import create_tables
from .jobs import app


async def migrate() -> None:
    await create_tables(app.dsn)  # a larger application uses Alembic
    await app.migrate_async()
    await app.sync_async()


if __name__ == "__main__":
    asyncio.run(migrate())
    app.close()
