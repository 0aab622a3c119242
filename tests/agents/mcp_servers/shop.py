"""Tools in a file, as a learner writes them."""
from __future__ import annotations

import labkit as lk

print("a word at the start")  # must not reach the wire


@lk.tool
def order_status(order_id: str, note: str | None = None) -> dict:
    """Status of an order.

    Args:
        order_id: like A-1042
        note: ünïcode, „quoted“, 🚚
    """
    print("looked up", order_id)
    if order_id != "A-1042":
        raise KeyError(f"there is no order {order_id}")
    return {"order": order_id, "status": "shipped", "note": note}


@lk.tool
def cancel_order(order_id: str) -> str:
    """Cancel an order."""
    return f"{order_id} is cancelled"
