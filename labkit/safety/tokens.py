"""Signed tokens that say who somebody is: for a role, for scopes, for a time, and until they are revoked.

    tokens = Tokens(key=os.environ["LABKIT_KEY"], path="tokens.sqlite")
    token = tokens.issue("anna", role="clerk", scopes={"orders"}, seconds=900)
    user = tokens.verify(token, scope="orders")      # a User; its check() is asked again before every call

JSON Web Tokens by PyJWT with HMAC-SHA-256. The algorithm is fixed here, never read from the token.
"""
from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest
from labkit.safety.store import Store
from labkit.safety.user import Unauthorised, User

ALGORITHM = "HS256"
KEY_BYTES = 32   # as long as the hash: RFC 7518, 3.2
LEEWAY_S = 5.0   # how far two clocks may be apart
LONGEST_S = 24 * 3600.0
KINDS = {"sub": str, "role": str, "scopes": list, "iat": (int, float), "exp": (int, float), "jti": str}
REQUIRED = [*KINDS, "iss", "aud"]


class Tokens:
    """path: where revoked tokens are remembered. issuer, audience: whose tokens, and for what; others are not taken.

    Safe to use from several threads. Raises BadRequest for a key under 32 bytes.
    """

    def __init__(self, key: str | bytes, path: str | Path = ":memory:", *, issuer: str = "labkit",
                 audience: str = "labkit agents", now: Callable[[], float] = time.time):
        self._key = key.encode() if isinstance(key, str) else key
        if len(self._key) < KEY_BYTES:
            raise BadRequest(f"The key has {len(self._key)} bytes; take {KEY_BYTES} or more, as "
                             "secrets.token_bytes(32) gives.")
        self.issuer, self.audience, self._now = issuer, audience, now
        self._store = Store(path, "CREATE TABLE IF NOT EXISTS revoked (id TEXT PRIMARY KEY, until REAL NOT NULL)")

    def issue(self, user: str, *, role: str = "", scopes: Collection[str] = (), seconds: float = 900.0) -> str:
        """A token for a user who has just proved who they are."""
        import jwt
        if not user or isinstance(scopes, str) or not 0 < seconds <= LONGEST_S:
            raise BadRequest(f"A token needs a user, a set of scopes, and 0 to {LONGEST_S:g} seconds.")
        now = self._now()
        claims = {"sub": user, "role": role, "scopes": sorted(scopes), "iat": now, "exp": now + seconds,
                  "jti": uuid.uuid4().hex, "iss": self.issuer, "aud": self.audience}
        return jwt.encode(claims, self._key, ALGORITHM)

    def verify(self, token: str, *, role: str | None = None, scope: str | None = None) -> User:
        """The user of a good token. Raises Unauthorised for any other, and for one of another role or scope."""
        claims = self._claims(token)
        self._check(claims)
        if role is not None and claims["role"] != role:
            raise Unauthorised(f"This needs the role {role!r}; the token has {claims['role']!r}.")
        if scope is not None and scope not in claims["scopes"]:
            raise Unauthorised(f"This needs the scope {scope!r}; the token does not have it.")
        return User(claims["sub"], claims["role"], frozenset(claims["scopes"]), lambda: self._check(claims))

    def revoke(self, token: str) -> None:
        """From now on this token is not taken. Raises Unauthorised for one that is none of ours."""
        claims = self._claims(token)
        self._store.run("DELETE FROM revoked WHERE until < ?", self._now() - LEEWAY_S)  # those are over anyway
        self._store.run("INSERT OR IGNORE INTO revoked VALUES (?, ?)", claims["jti"], claims["exp"])

    def close(self) -> None:
        self._store.close()

    def _claims(self, token: str) -> dict[str, Any]:
        """What a token with a good signature says. PyJWT compares signatures in constant time."""
        import jwt
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM], issuer=self.issuer, audience=self.audience,
                                options={"require": REQUIRED, "verify_exp": False, "verify_iat": False})
        except (jwt.PyJWTError, ValueError) as error:  # ValueError: no UTF-8
            raise Unauthorised(f"The token is not valid ({type(error).__name__}). Log in again.") from None
        if wrong := [name for name, kind in KINDS.items() if not isinstance(claims[name], kind)]:
            raise Unauthorised(f"The token is not valid ({wrong[0]} is of the wrong kind). Log in again.")
        return claims

    def _check(self, claims: dict[str, Any]) -> None:
        now = self._now()
        if now > claims["exp"] + LEEWAY_S:
            raise Unauthorised("The token has expired. Log in again.")
        if claims["iat"] > now + LEEWAY_S:
            raise Unauthorised("The token is from the future: a clock is wrong. Set the clocks.")
        if self._store.run("SELECT 1 FROM revoked WHERE id = ?", claims["jti"]):
            raise Unauthorised("The token was revoked. Log in again.")
