import pytest
from flask.testing import FlaskClient
from shop import send_confirmation

from underway_pg.testing import assert_enqueued, run_pending


def test_an_order_is_confirmed(site: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    order = site.post("/orders", json={"item": "bread", "email": "ferris@example.com"}).get_json()
    assert_enqueued(send_confirmation, order_id=order["id"])
    run_pending(send_confirmation)
    assert site.get(f"/orders/{order['id']}").get_json() == {"id": order["id"], "item": "bread", "confirmed": True}
    assert "From shop@example.com to ferris@example.com" in capsys.readouterr().out


def test_a_missing_order_is_not_found(site: FlaskClient) -> None:
    assert site.get("/orders/7").status_code == 404
