"""Logging in: the right password gives a token, and nothing else tells an attacker anything."""
from __future__ import annotations

import time

import pytest

from labkit.errors import BadRequest
from labkit.safety import Accounts, Tokens, Unauthorised

PASSWORD = "correct horse battery"


@pytest.fixture
def tokens(clock):
    return Tokens(b"k" * 32, now=clock)


@pytest.fixture
def accounts(tmp_path, clock):
    accounts = Accounts(tmp_path / "accounts.sqlite", clock)
    accounts.add("anna", PASSWORD, role="clerk", scopes={"orders"})
    return accounts


def test_the_right_password_gives_a_token(accounts, tokens):
    user = tokens.verify(accounts.login("anna", PASSWORD, tokens))
    assert (user.id, user.role, user.scopes) == ("anna", "clerk", {"orders"})


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer_and_work(accounts, tokens):
    told, took = set(), []
    tries = (("anna", "wrong password"), ("nobody", PASSWORD), ("' OR 1=1 --", ""), ("anna", "\ud800" * 9))
    for user, password in tries:
        began = time.process_time()
        with pytest.raises(Unauthorised) as caught:
            accounts.login(user, password, tokens)
        told.add(str(caught.value))
        took.append(time.process_time() - began)
    assert told == {"The name or the password is wrong."} and max(took) < 4 * min(took)


def test_after_five_wrong_ones_the_account_rests_a_minute(accounts, tokens, clock):
    for _ in range(5):
        with pytest.raises(Unauthorised, match="is wrong"):
            accounts.login("anna", "wrong password", tokens)
    with pytest.raises(Unauthorised, match="Try again in 60 s"):
        accounts.login("anna", PASSWORD, tokens)
    clock.now += 61
    assert accounts.login("anna", PASSWORD, tokens)


def test_no_password_is_in_the_file(accounts, tokens, tmp_path):
    accounts.add("anna", "another long one", role="clerk")
    with pytest.raises(Unauthorised):
        accounts.login("anna", PASSWORD, tokens)
    accounts.remove("anna")
    with pytest.raises(Unauthorised):
        accounts.login("anna", "another long one", tokens)
    accounts.close()
    kept = (tmp_path / "accounts.sqlite").read_bytes()
    assert PASSWORD.encode() not in kept and b"another long one" not in kept


@pytest.mark.parametrize("user, password", [("", PASSWORD), ("bob", "short"), ("bob", "x" * 1001)])
def test_accounts_that_are_not_made(accounts, user, password):
    with pytest.raises(BadRequest):
        accounts.add(user, password)
