"""A shop's kiosk: what is in stock, what is like it, what it costs, and pieces put aside."""
from __future__ import annotations

from typing import Annotated

from pydantic import Field

from labkit.domains.desk import Absent, Desk, known, reads, writes
from labkit.domains.invoices import money
from labkit.errors import ToolError

TOLD = 4  # alternatives, and stores


class Kiosk(Desk):
    name, title = "kiosk", "Shop kiosk"
    names = {"item": "SELECT name FROM products", "store": "SELECT name FROM stores"}

    @reads
    def check_stock(self, item: str, store: str | Absent = None) -> dict:
        """Tells how many pieces of an item are in stock, in one store or in all of them.

        Args: item: Name of the product. store: Store to look in; all stores if left out.
        """
        product = self._product(item)["name"]
        place = known(store, [row["name"] for row in self.database.query("SELECT name FROM stores")], "store") \
            if store else None
        rows = self.database.query("SELECT store, pieces FROM stock WHERE product = ? AND store = coalesce(?, store) "
                                   "ORDER BY pieces DESC", product, place)
        pieces = sum(row["pieces"] for row in rows)
        where = ", ".join(f"{row['store']} {row['pieces']}" for row in rows[:TOLD] if row["pieces"])
        return {"item": product, "pieces": pieces,
                "answer": f"{product}: {pieces} in stock{f' ({where})' if where else ''}."}

    @reads
    def find_alternatives(self, item: str, max_price: float | Absent = None) -> dict:
        """Finds products that are similar to a given one.

        Args: item: Product to find something similar to. max_price: Highest price of an alternative.
        """
        product = self._product(item)
        found = self.database.query(
            "SELECT name, price_cents FROM products WHERE category = ? AND name <> ? AND price_cents <= ? "
            "ORDER BY abs(price_cents - ?) LIMIT ?", product["category"], product["name"],
            100 * max_price if max_price is not None else 10**9, product["price_cents"], TOLD)
        told = ", ".join(f"{row['name']} ({money(row['price_cents'])})" for row in found)
        return {"alternatives": found, "answer": f"Like the {product['name']}: {told}." if found else
                f"There is nothing like the {product['name']} at that price."}

    @writes
    def reserve_item(self, item: str, quantity: Annotated[int, Field(ge=1, le=5)], customer: str) -> dict:
        """Puts pieces of an item aside for a customer.

        Args: item: Name of the product. quantity: Number of pieces. customer: Full name of the customer.
        """
        product = self._product(item)["name"]
        with self.database.transaction() as now:  # a second request of that day finds what the first has put aside
            there = now.query("SELECT * FROM reservations WHERE product = ? AND customer = ? AND day = ?", product,
                              customer, self.today)
            if not there:
                store = _take(now, product, quantity)
                there = now.query("INSERT INTO reservations (product, customer, store, quantity, day) "
                                  "VALUES (?, ?, ?, ?, ?) RETURNING *", product, customer, store, quantity, self.today)
        (kept,) = there
        return {**kept, "answer": f"{kept['quantity']} x {product} at {kept['store']} for {kept['customer']}, "
                                  f"number {kept['id']}."}

    @reads
    def price_quote(self, item: str, quantity: Annotated[int, Field(ge=1, le=60)], discount_code: str | Absent = None
                    ) -> dict:
        """Computes the total price of a quantity of an item, with a discount code if there is one.

        Args: item: Name of the product. quantity: Number of pieces. discount_code: Discount code, e.g. 'SAVE10'.
        """
        product, percent = self._product(item), 0
        if discount_code:
            code = self.one("SELECT * FROM discounts WHERE code = ?", (discount_code,),
                            f"There is no discount code {discount_code[:40]}. Read it from the voucher again.")
            if code["until"] < self.today:
                raise ToolError(f"{code['code']} was valid until {code['until']}. Ask for a price without it.")
            percent = code["percent"]
        cents = round(quantity * product["price_cents"] * (100 - percent) / 100)
        less = f" with {percent} % off" if percent else ""
        return {"total_cents": cents, "answer": f"{quantity} x {product['name']}{less}: {money(cents)}."}

    def _product(self, item: str) -> dict:
        name = known(item, [row["name"] for row in self.database.query("SELECT name FROM products")], "product")
        return self.database.query("SELECT * FROM products WHERE name = ?", name)[0]


def _take(now, product: str, quantity: int) -> str:
    """Take pieces out of the store that has most of them; which it is. Raises ToolError when none has enough."""
    (best,) = now.query("SELECT store, pieces FROM stock WHERE product = ? ORDER BY pieces DESC LIMIT 1", product)
    if best["pieces"] < quantity:
        raise ToolError(f"No store has {quantity} x {product}; {best['store']} has {best['pieces']}. Reserve fewer, or "
                        "look for alternatives.")
    now.query("UPDATE stock SET pieces = pieces - ? WHERE store = ? AND product = ?", quantity, best["store"], product)
    return best["store"]
