"""The web site of the shop: uvicorn shop.web:web"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from underway_pg.fastapi import underway_lifespan

from .database import Order, open_sessions
from .jobs import app, send_confirmation


@asynccontextmanager
async def lifespan(web: FastAPI) -> AsyncIterator[None]:
    async with open_sessions(app.dsn) as web.state.sessions, underway_lifespan(app)(web):
        yield


web = FastAPI(title="Shop", lifespan=lifespan)


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


class NewOrder(BaseModel):
    reference: str
    item: str
    email: str


class SavedOrder(NewOrder, from_attributes=True):
    id: UUID
    confirmed_at: datetime | None


@web.post("/orders", status_code=201, response_model=SavedOrder)
async def create_order(new: NewOrder, session: Session) -> Order:
    order = Order(**new.model_dump())
    try:
        async with session.begin():  # the order and the task are committed together, before the response is sent
            session.add(order)
            await send_confirmation.using(session).enqueue_async(order_id=order.id)
    except IntegrityError:
        raise HTTPException(409, f"order {new.reference} exists already") from None
    return order


@web.get("/orders/{order_id}", response_model=SavedOrder)
async def show_order(order_id: UUID, session: Session) -> Order:
    order = await session.get(Order, order_id)
    if order is None:
        raise HTTPException(404, f"order {order_id} does not exist")
    return order


@web.get("/health")
async def health() -> str:
    return "ok"
