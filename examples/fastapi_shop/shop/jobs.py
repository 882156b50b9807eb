"""The jobs of the shop, and the worker's side: underway worker shop.jobs:app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

import underway_pg as underway

from .database import Order, open_sessions


@asynccontextmanager
async def lifespan(app: underway.App) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    async with open_sessions(app.dsn) as sessions:
        yield sessions  # handlers find it as context.state


app = underway.App(lifespan=lifespan)


@app.job(queue="email", retry=underway.RetryPolicy(max_attempts=10))
async def send_confirmation(context: underway.Context, order_id: UUID) -> None:
    async with context.state.begin() as session:
        order = await session.get_one(Order, order_id)
        if order.confirmed_at is None:  # an earlier attempt may have come this far
            print(f"To {order.email}: thank you for ordering {order.item}.", flush=True)
            order.confirmed_at = datetime.now(UTC)
