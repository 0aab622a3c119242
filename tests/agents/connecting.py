"""Servers for the tests of MCP, and what must be left of them: nothing."""
from __future__ import annotations

import sys
import threading
from pathlib import Path

import psutil

from labkit.agents.mcp import mcp_tools
from labkit.agents.mcp_serve import tools_in

SERVERS = Path(__file__).parent / "mcp_servers"
SHOP = tools_in(SERVERS / "shop.py")
SHOP_COMMAND = [sys.executable, "-m", "labkit", "mcp", str(SERVERS / "shop.py"), "--read-only", "order_status"]


def by_hand(listing: str = "all", **options):
    """Connect to the server without an SDK, a child process. listing: which tools it says it has."""
    return mcp_tools([sys.executable, str(SERVERS / "by_hand.py"), listing], **options)


def living() -> set:
    """Child processes of this one, and threads of connections and servers."""
    threads = {thread.name for thread in threading.enumerate() if "mcp" in thread.name}
    return threads | {child.pid for child in psutil.Process().children()}
