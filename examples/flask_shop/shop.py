"""A shop that takes orders and confirms them by mail.

The web site: flask --app shop run. The worker: underway worker shop:app
"""

from functools import cache
from typing import Any

import flask
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column

import underway_pg
from underway_pg.flask import Underway

web = flask.Flask(__name__)
web.config["MAIL_FROM"] = "shop@example.com"

app = underway_pg.App()
Underway(app, web)


class Base(MappedAsDataclass, DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "order"

    item: Mapped[str]
    email: Mapped[str]
    confirmed: Mapped[bool] = mapped_column(default=False)
    id: Mapped[int] = mapped_column(primary_key=True, init=False)


@cache
def engine(dsn: str) -> Engine:
    return create_engine(make_url(dsn).set(drivername="postgresql+psycopg"))


@app.job(queue="email")
def send_confirmation(order_id: int) -> None:
    with Session(engine(app.dsn)) as session, session.begin():
        order = session.get_one(Order, order_id)
        print(f"From {flask.current_app.config['MAIL_FROM']} to {order.email}: thank you for ordering {order.item}.")
        order.confirmed = True


@web.post("/orders")
def create_order() -> tuple[dict[str, Any], int]:
    new = flask.request.get_json()
    with Session(engine(app.dsn), expire_on_commit=False) as session, session.begin():
        order = Order(new["item"], new["email"])
        session.add(order)
        session.flush()  # gives the order its id
        send_confirmation.using(session).enqueue(order_id=order.id)
    return {"id": order.id}, 201


@web.get("/orders/<int:order_id>")
def show_order(order_id: int) -> dict[str, Any]:
    with Session(engine(app.dsn)) as session:
        order = session.get(Order, order_id) or flask.abort(404)
        return {"id": order.id, "item": order.item, "confirmed": order.confirmed}


@web.cli.command("migrate")
def migrate_command() -> None:
    """Create or upgrade the tables of the shop, the schema of the queue, and what the jobs declare."""
    migrate()


def migrate() -> None:
    Base.metadata.create_all(engine(app.dsn))
    app.migrate()
    app.sync()
