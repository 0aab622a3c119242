"""Who asks: a name, a role, scopes, and whether that still holds."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from labkit.errors import LabkitError


class Unauthorised(LabkitError):
    """The token is missing, forged, expired, revoked, or not good for this. Log in again for a new one."""


def _always() -> None:
    """For a user who did not come with a token."""


@dataclass(frozen=True)
class User:
    """check: raises Unauthorised when the token this user came with is over; asked again before every call."""

    id: str
    role: str = ""
    scopes: frozenset[str] = frozenset()
    check: Callable[[], None] = field(default=_always, repr=False, compare=False)
