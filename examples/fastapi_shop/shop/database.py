"""The tables of the shop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import DateTime, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column


class Base(MappedAsDataclass, DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "order"

    reference: Mapped[str] = mapped_column(unique=True)
    item: Mapped[str]
    email: Mapped[str]
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)
    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4)


@asynccontextmanager
async def open_sessions(dsn: str) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Open an engine for the running event loop. asyncpg's connections work on one loop only, so it is not global."""
    engine = create_async_engine(make_url(dsn).set(drivername="postgresql+asyncpg"))
    try:
        yield async_sessionmaker(engine, expire_on_commit=False)
    finally:
        await engine.dispose()


async def create_tables(dsn: str) -> None:
    async with open_sessions(dsn) as sessions, sessions.begin() as session:
        await (await session.connection()).run_sync(Base.metadata.create_all)
