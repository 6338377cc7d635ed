"""Scopes and API keys: what each permits."""

import pickle
import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import ApiKey, Scope
from harken.testing import a_key
from harken.testing import strategies as hst
from support import NOON

SCOPES = st.frozensets(st.sampled_from(Scope), min_size=1)


@given(SCOPES, st.sampled_from(Scope))
def test_a_key_allows_its_scopes_and_admin_everything(scopes: frozenset[Scope], wanted: Scope) -> None:
    """A key grants exactly its scopes, and all scopes if one of them is ``admin``."""
    assert a_key(scopes=scopes).allows(wanted) == (wanted in scopes or Scope.ADMIN in scopes)


@given(SCOPES, st.sampled_from(Scope))
def test_a_revoked_key_allows_nothing(scopes: frozenset[Scope], wanted: Scope) -> None:
    """A revoked key grants none of its scopes."""
    key = a_key(scopes=scopes)
    assert not key.revoked
    assert key.revoke(at=NOON).revoked
    assert not key.revoke(at=NOON).allows(wanted)


@given(hst.api_keys(), hst.instants(), hst.instants())
def test_a_key_is_revoked_once(key: ApiKey, first: datetime, second: datetime) -> None:
    """The time of the first revocation is kept."""
    once = key.revoke(at=first)
    assert once.revoked_at == (key.revoked_at or first)
    assert once.revoke(at=second) == once


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_is_parsed_from_its_name_and_from_itself(scope: Scope) -> None:
    """The name and the scope itself give the scope."""
    assert Scope.parse(scope.value) is scope
    assert Scope.parse(scope) is scope


@pytest.mark.parametrize("wrong", ["raed", "READ", "", None, 1, ["read"]])
def test_an_unknown_scope_raises_a_helpful_error(wrong: object) -> None:
    """The message contains the invalid value and all valid names."""
    expected = f"Unknown scope {wrong!r}; expected 'submit', 'read', 'moderate' or 'admin'"
    with pytest.raises(ValueError, match=re.escape(expected)):
        Scope.parse(wrong)


def test_the_repr_of_a_key_has_no_digest() -> None:
    """The ``repr`` lists the scopes in a stable order, and does not contain the digest."""
    shown = repr(a_key(scopes=frozenset(Scope), digest="f" * 64))
    assert "scopes={admin, moderate, read, submit}" in shown
    assert "ffff" not in shown


@given(hst.api_keys())
def test_a_key_can_be_pickled(key: ApiKey) -> None:
    """A pickled key is loaded unchanged."""
    assert pickle.loads(pickle.dumps(key)) == key


def test_times_of_a_key_are_in_utc() -> None:
    """Times in other zones are converted to UTC."""
    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))
    key = a_key(created_at=local).revoke(at=local)
    assert [repr(key.created_at), repr(key.revoked_at)] == [repr(NOON)] * 2
