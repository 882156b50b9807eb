from uuid import UUID

from fastapi.testclient import TestClient
from shop.jobs import send_confirmation

from underway_pg.testing import assert_enqueued, enqueued, run_pending

ORDER = {"reference": "A-1", "item": "bread", "email": "ferris@example.com"}


def test_an_order_is_confirmed(site: TestClient) -> None:
    order = site.post("/orders", json=ORDER).json()
    assert_enqueued(send_confirmation, order_id=UUID(order["id"]))
    assert site.get(f"/orders/{order['id']}").json()["confirmed_at"] is None
    run_pending(send_confirmation)
    assert site.get(f"/orders/{order['id']}").json()["confirmed_at"] is not None


def test_an_order_that_is_refused_is_not_confirmed(site: TestClient) -> None:
    site.post("/orders", json=ORDER)
    assert site.post("/orders", json=ORDER).status_code == 409
    assert len(enqueued(send_confirmation)) == 1


def test_a_missing_order_is_not_found(site: TestClient) -> None:
    assert site.get("/orders/00000000-0000-0000-0000-000000000000").status_code == 404
