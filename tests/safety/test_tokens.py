"""Tokens: good ones say who somebody is, and every other kind is refused."""
from __future__ import annotations

import base64
import json

import jwt
import pytest

from labkit.errors import BadRequest
from labkit.safety import Tokens, Unauthorised

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def tokens(clock):
    return Tokens(KEY, now=clock)


def test_a_token_says_who_what_and_for_what(tokens):
    user = tokens.verify(tokens.issue("anna", role="clerk", scopes={"orders"}), role="clerk", scope="orders")
    assert (user.id, user.role, user.scopes) == ("anna", "clerk", {"orders"})


def test_it_expires_with_five_seconds_for_clocks_that_differ(tokens, clock):
    token = tokens.issue("anna", seconds=60)
    user = tokens.verify(token)
    clock.now += 64
    user.check()
    clock.now += 2
    for look in (user.check, lambda: tokens.verify(token)):
        with pytest.raises(Unauthorised, match="expired"):
            look()


@pytest.mark.parametrize("ahead, good", [(4, True), (6, False)])
def test_a_clock_that_is_ahead(tokens, clock, ahead, good):
    clock.now += ahead
    token = tokens.issue("anna")
    clock.now -= ahead
    if good:
        assert tokens.verify(token).id == "anna"
    else:
        with pytest.raises(Unauthorised, match="future"):
            tokens.verify(token)


def test_another_role_or_scope(tokens):
    token = tokens.issue("anna", role="guest", scopes={"read"})
    with pytest.raises(Unauthorised, match="role 'clerk'"):
        tokens.verify(token, role="clerk")
    with pytest.raises(Unauthorised, match="scope 'write'"):
        tokens.verify(token, scope="write")


def b64(value) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(tokens, how: str) -> str:
    good = tokens.issue("anna", role="guest")
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    admin = {**claims, "role": "admin"}
    return {
        "alg none": f"{b64({'alg': 'none', 'typ': 'JWT'})}.{b64(admin)}.",
        "alg NONE": f"{b64({'alg': 'nOnE'})}.{b64(admin)}.{signature}",
        "other body": f"{head}.{b64(admin)}.{signature}",
        "other key": jwt.encode(admin, b"x" * 32, "HS256"),
        "other algorithm": jwt.encode(admin, KEY * 2, "HS512"),
        "no expiry": jwt.encode({k: v for k, v in claims.items() if k != "exp"}, KEY, "HS256"),
        "expiry is text": jwt.encode({**claims, "exp": "tomorrow"}, KEY, "HS256"),
        "other audience": jwt.encode({**claims, "aud": "other"}, KEY, "HS256"),
        "other issuer": jwt.encode({**claims, "iss": "other"}, KEY, "HS256"),
        "scopes is a number": jwt.encode({**claims, "scopes": 7}, KEY, "HS256"),
        "cut": good[:-4], "empty": "", "no token": "Bearer hello", "bytes": "\x00\ud800", "long": "a" * 1_000_000,
        "none": None,
    }[how]


@pytest.mark.parametrize("how", [
    "alg none", "alg NONE", "other body", "other key", "other algorithm", "no expiry", "expiry is text",
    "other audience", "other issuer", "scopes is a number", "cut", "empty", "no token", "bytes", "long", "none"])
def test_a_forged_token_is_refused(tokens, how):
    token = forged(tokens, how)
    with pytest.raises(Unauthorised, match="not valid"):
        tokens.verify(token)
    with pytest.raises(Unauthorised):
        tokens.revoke(token)


def test_a_revoked_token_stays_revoked_after_a_restart(tmp_path, clock):
    first = Tokens(KEY, tmp_path / "tokens.sqlite", now=clock)
    token, other = first.issue("anna"), first.issue("anna")
    user = first.verify(token)
    first.revoke(token)
    first.revoke(token)
    with pytest.raises(Unauthorised, match="revoked"):
        user.check()
    first.close()
    second = Tokens(KEY, tmp_path / "tokens.sqlite", now=clock)
    with pytest.raises(Unauthorised, match="revoked"):
        second.verify(token)
    assert second.verify(other).id == "anna"


def test_the_refusal_does_not_say_the_token(tokens):
    token = forged(tokens, "other key")
    with pytest.raises(Unauthorised) as caught:
        tokens.verify(token)
    assert token[:20] not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("wrong", [{"user": ""}, {"scopes": "orders"}, {"seconds": 0}, {"seconds": 1e9}])
def test_tokens_that_are_not_made(tokens, wrong):
    with pytest.raises(BadRequest):
        tokens.issue(**{"user": "anna", **wrong})
    with pytest.raises(BadRequest, match="32"):
        Tokens("short")
