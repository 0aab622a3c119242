"""Who may log in: names and passwords, kept as scrypt hashes. A login gives a token.

    accounts = Accounts("accounts.sqlite")
    accounts.add("anna", "a long password", role="clerk", scopes={"orders"})
    token = accounts.login("anna", "a long password", tokens)

A wrong name and a wrong password get the same answer after the same work. After five wrong ones an account rests for a
minute, so that guessing takes years.
"""
from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path

from labkit.errors import BadRequest
from labkit.safety.store import Store
from labkit.safety.tokens import Tokens
from labkit.safety.user import Unauthorised

WORK = {"n": 2**14, "r": 8, "p": 1}  # 16 MB and some 50 ms a try: RFC 7914's values for logging in
SHORTEST, LONGEST = 10, 1000         # characters of a password
TRIES, REST_S = 5, 60.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (user TEXT PRIMARY KEY, role TEXT NOT NULL, scopes TEXT NOT NULL,
  salt BLOB NOT NULL, hash BLOB NOT NULL, wrong INTEGER NOT NULL DEFAULT 0, rests_until REAL NOT NULL DEFAULT 0);
"""


class Accounts:
    """path: where they are kept. Safe to use from several threads."""

    def __init__(self, path: str | Path = ":memory:", now: Callable[[], float] = time.time):
        self._now, self._store = now, Store(path, SCHEMA)

    def add(self, user: str, password: str, *, role: str = "", scopes: Collection[str] = ()) -> None:
        """Add somebody, or give them another password, role and scopes."""
        if not user or not SHORTEST <= len(password) <= LONGEST:
            raise BadRequest(f"An account needs a name and a password of {SHORTEST} to {LONGEST} characters.")
        salt = secrets.token_bytes(16)
        row = (user, role, json.dumps(sorted(scopes)), salt, _hash(password, salt))
        self._store.run("REPLACE INTO accounts (user, role, scopes, salt, hash) VALUES (?, ?, ?, ?, ?)", *row)

    def remove(self, user: str) -> None:
        """Their tokens are good until they expire or are revoked."""
        self._store.run("DELETE FROM accounts WHERE user = ?", user)

    def login(self, user: str, password: str, tokens: Tokens, seconds: float = 900.0) -> str:
        """A token for who knows the password. Raises Unauthorised otherwise."""
        found = self._store.run("SELECT role, scopes, salt, hash, rests_until FROM accounts WHERE user = ?", user)
        role, scopes, salt, known, rests_until = found[0] if found else ("", "[]", b"\0" * 16, b"\0" * 64, 0.0)
        right = hmac.compare_digest(_hash(password[:LONGEST], salt), known)
        if rests_until > self._now():
            raise Unauthorised(f"Too many wrong passwords. Try again in {rests_until - self._now():.0f} s.")
        if not found or not right:
            self._wrong(user)
            raise Unauthorised("The name or the password is wrong.")
        self._store.run("UPDATE accounts SET wrong = 0 WHERE user = ?", user)
        return tokens.issue(user, role=role, scopes=json.loads(scopes), seconds=seconds)

    def _wrong(self, user: str) -> None:
        self._store.run("UPDATE accounts SET wrong = (wrong + 1) % ?, rests_until = iif(wrong + 1 >= ?, ?, 0) "
                        "WHERE user = ?", TRIES, TRIES, self._now() + REST_S, user)

    def close(self) -> None:
        self._store.close()


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **WORK)
