"""Finance: price alerts, trends, the report of a day, the risk of a portfolio, from local prices. It cannot trade.

user: whose portfolios and alerts they are.
"""
from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from labkit.domains.desk import Absent, Desk, known, reads, writes
from labkit.domains.when import a_day
from labkit.errors import ToolError

STEADY = 0.02   # a move of less than that is no trend
LEVELS = (0.95, 0.99)
TOLD = 3        # shares in a daily report, from the top and from the bottom


class Finance(Desk):
    name, title, default_user = "finance", "Finance", "Mira"
    names = {"symbol": "SELECT symbol FROM shares", "portfolio": "SELECT DISTINCT portfolio FROM holdings"}

    @writes
    def watch_price(self, symbol: str, direction: Literal["above", "below"], price: float) -> dict:
        """Sets an alert that fires once the price of a share goes above or below a limit.

        Args: symbol: Ticker symbol of the share, e.g. 'NRD'.
        direction: above = alert when the price rises over the limit, below = when it falls under it.
        price: The limit.
        """
        share = self._share(symbol)
        if not (math.isfinite(price) and price > 0):
            raise ToolError(f"{price} is no price. Give a limit above 0.")
        with self.database.transaction() as now:
            now.keep("watches", owner=self.user, symbol=share, direction=direction, price=price)
        return {"symbol": share, "answer": f"You are told when {share} goes {direction} {price:g}."}

    @reads
    def price_trend(self, symbol: str, days: Annotated[int, Field(ge=5, le=250)] = 30) -> dict:
        """Shows how the price of a share has moved over the last days and whether it trends up or down.

        Args: symbol: Ticker symbol of the share. days: How many days to look back (default 30).
        """
        share = self._share(symbol)
        closes = [row["close_cents"] / 100 for row in self.database.query(
            "SELECT close_cents FROM prices WHERE symbol = ? ORDER BY day DESC LIMIT ?", share, days)]
        change = closes[0] / closes[-1] - 1
        trend = "steady" if abs(change) < STEADY else "up" if change > 0 else "down"
        return {"symbol": share, "change": change, "trend": trend, "days": len(closes),
                "answer": f"{share} went from {closes[-1]:.2f} to {closes[0]:.2f} in {len(closes)} trading days "
                          f"({change:+.1%}): {trend}."}

    @reads
    def daily_report(self, date: str) -> dict:
        """Gets the desk's report of one trading day.

        Args: date: Trading day, YYYY-MM-DD.
        """
        day = a_day(date)
        moves = self.database.query(
            "WITH moves AS (SELECT symbol, day, close_cents, lag(close_cents) OVER (PARTITION BY symbol ORDER BY day) "
            "AS before FROM prices) SELECT symbol, close_cents / 100.0 AS close, "
            "1.0 * close_cents / before - 1 AS move FROM moves WHERE day = ? AND before NOTNULL ORDER BY move DESC",
            day)
        if not moves:
            raise ToolError(f"There was no trading on {day}, or it is not on record. Ask for another day.")
        told = ", ".join(f"{row['symbol']} {row['move']:+.1%}" for row in [*moves[:TOLD], *moves[-TOLD:]])
        return {"day": day, "moves": moves, "answer": f"{day}, the best and the worst: {told}."}

    @reads
    def portfolio_risk(self, portfolio: str, days: Annotated[int, Field(ge=1, le=30)] = 1,
                       confidence: float | Absent = None) -> dict:
        """Estimates how much a portfolio could lose within some days (value at risk).

        Args: portfolio: Name of the portfolio. days: Horizon in days (default 1).
        confidence: Confidence level, 0.95 or 0.99.
        """
        level = confidence or LEVELS[0]
        if level not in LEVELS:
            raise ToolError(f"A confidence of {level:g} is not computed here. Use 0.95 or 0.99.")
        mine = [row["portfolio"] for row in self.database.query(
            "SELECT DISTINCT portfolio FROM holdings WHERE owner = ?", self.user)]
        name = known(portfolio, mine, "portfolio of yours")
        worth = [row["cents"] / 100 for row in self.database.query(
            "SELECT day, sum(pieces * close_cents) AS cents FROM holdings JOIN prices USING (symbol) "
            "WHERE portfolio = ? GROUP BY day ORDER BY day", name)]
        loss = value_at_risk(worth, days, level)
        return {"portfolio": name, "loss": loss, "answer": f"{name} is worth {worth[-1]:,.2f}. Within {days} days it "
                f"loses more than {loss:,.2f} in {1 - level:.0%} of cases, as far as its past tells."}

    def _share(self, symbol: str) -> str:
        return known(symbol, [row["symbol"] for row in self.database.query("SELECT symbol FROM shares")], "share")


def value_at_risk(worth: list[float], days: int, level: float) -> float:
    """Loss, in the portfolio's currency, that a share 1 - level of the past's daily returns exceeded, over `days`.

    Historical simulation; from one day to several by the square root of time.
    """
    returns = sorted(later / earlier - 1 for earlier, later in zip(worth, worth[1:]))
    worst = returns[math.floor((1 - level) * len(returns))]
    return max(0.0, -worst) * math.sqrt(days) * worth[-1]
