"""The commands keys create, list and revoke: their output and exit codes."""

from typing import Any

import pytest

import harken
from support import eventually

URL = "sqlite:///feedback.db"


def test_a_created_key_is_printed_once(cli: Any) -> None:
    """Stdout has only the key, for scripts; a warning is on stderr."""
    made = cli("keys", "create", "--scope", "submit", "--scope", "read", "--name", "web backend")
    assert made.code == 0
    assert "it cannot be shown again" in made.err
    text = made.out.removesuffix("\n")
    with harken.connect(URL) as hk:
        key = hk.keys.authenticate(text)
    assert (key.application, key.name) == ("default", "web backend")
    assert key.scopes == {harken.Scope.SUBMIT, harken.Scope.READ}
    for listed in (cli("keys", "list"), cli("keys", "list", "--json")):
        assert key.id in listed.out
        assert text.split("_", 2)[2] not in listed.out
        assert key.digest not in listed.out


def test_a_key_as_json(cli: Any) -> None:
    """The JSON output has the key and its attributes."""
    made = cli("--application", "shop", "keys", "create", "--scope", "admin", "--json")
    assert (made.code, made.err) == (0, "")
    text = made.json["key"]
    assert made.json.items() >= {"application": "shop", "scopes": ["admin"], "name": "", "revoked_at": None}.items()
    without_text = {name: value for name, value in made.json.items() if name != "key"}
    assert cli("keys", "list", "--json").json == {"keys": [without_text]}
    # Afterwards, as its use is recorded.
    with harken.connect(URL) as hk:
        assert hk.keys.authenticate(text).id == made.json["id"]


def test_a_key_is_limited_to_agents(cli: Any) -> None:
    """--agent restricts the key, and ``keys list`` shows the agents."""
    made = cli("keys", "create", "--scope", "read", "--agent", "zoe", "--agent", "Al").out.removesuffix("\n")
    with harken.connect(URL) as hk:
        assert hk.keys.authenticate(made).agents == {"zoe", "Al"}
    assert cli("keys", "create", "--scope", "read", "--json").json["agents"] is None
    limited, other = cli("keys", "list", "--json").json["keys"]
    assert (limited["agents"], limited["scopes"], other["agents"]) == (["Al", "zoe"], ["read"], None)
    shown = cli("keys", "list").out
    assert shown.index("agents: Al, zoe") < shown.index(other["id"])
    assert shown.count("agents: ") == 1


def test_the_last_use_is_listed(cli: Any) -> None:
    """``keys list`` shows when a key was last used."""
    text = cli("keys", "create", "--scope", "read").out.removesuffix("\n")
    cli("keys", "create", "--scope", "read")
    with harken.connect(URL) as hk:
        hk.keys.authenticate(text)
        eventually(lambda: any(key.last_used_at for key in hk.keys.keys("default")))
    used, unused = cli("keys", "list", "--json").json["keys"]
    assert used["last_used_at"] is not None
    assert unused["last_used_at"] is None
    assert ["  used 2" in line for line in cli("keys", "list").out.splitlines()] == [True, False]


def test_keys_of_all_applications_are_listed(cli: Any) -> None:
    """``keys list`` shows the keys of all applications, oldest first, including revoked ones."""
    first = cli("keys", "create", "--scope", "read", "--scope", "submit", "--json").json
    second = cli("--application", "shop", "keys", "create", "--scope", "moderate", "--name", "till", "--json").json
    cli("keys", "revoke", first["id"])
    one, other = cli("keys", "list").out.splitlines()
    assert one.startswith(f"{first['id']}  default  submit, read  created ")
    assert "  revoked " in one
    assert other.startswith(f"{second['id']}  shop  moderate  created ")
    assert other.endswith("Z  till")
    assert "revoked" not in other
    assert cli("keys", "list").out == cli("--application", "shop", "keys", "list").out


def test_a_revoked_key_is_invalid(cli: Any) -> None:
    """Revoking takes effect at once, prints the time, and can be repeated."""
    made = cli("keys", "create", "--scope", "admin", "--json").json
    revoked = cli("keys", "revoke", made["id"])
    assert revoked.code == 0
    assert revoked.out.startswith(f"{made['id']} was revoked at 2")
    assert cli("keys", "revoke", made["id"]).out == revoked.out
    again = cli("keys", "revoke", made["id"], "--json").json
    assert again["revoked_at"] is not None
    assert "digest" not in again
    with harken.connect(URL) as hk, pytest.raises(harken.InvalidCredentials):
        hk.keys.authenticate(made["key"])


def test_a_whole_key_can_be_revoked_and_is_never_repeated(cli: Any) -> None:
    """``revoke`` accepts the whole key, and no message contains the secret of a key pasted by mistake."""
    keys = iter(lambda: cli("keys", "create", "--scope", "admin", "--json").json, None)
    # A secret that begins with a dash would be taken for an option.
    made = next(key for key in keys if not key["key"].split("_", 2)[2].startswith("-"))
    secret = made["key"].split("_", 2)[2]
    unknown = f"hk_0123456789abcdef_{secret}"
    for arguments, code in (
        (("keys", "revoke", unknown), 4),
        (("keys", "revoke", secret), 4),
        (("keys", "revoke", f"{unknown} {secret}"), 4),
        (("keys", "revoke", unknown, unknown), 2),
        (("show", unknown), 4),
        ((unknown,), 2),
    ):
        for ran in (cli(*arguments), cli(*arguments, "--json")):
            assert ran.code == code
            assert secret not in ran.out + ran.err
    assert cli("keys", "revoke", f" {made['key']}\n").out.startswith(f"{made['id']} was revoked at ")
    with harken.connect(URL) as hk, pytest.raises(harken.InvalidCredentials):
        hk.keys.authenticate(made["key"])


@pytest.mark.usefixtures("empty_storage")
def test_an_unknown_key_is_not_found(cli: Any) -> None:
    """An unknown id has exit code 4."""
    assert cli("keys", "revoke", "nobody").code == 4
    missing = cli("keys", "revoke", "nobody", "--json")
    assert (missing.code, missing.error["error"]) == (4, "KeyNotFound")
    assert cli("keys", "list").out == "No keys\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "--scope"),
        (("--scope", "raed"), 2, "'submit', 'read', 'moderate', 'admin'"),
        (("--scope", "read", "--name", "x" * 300), 2, "name too long"),
        (("--scope", "read", "--agent", ""), 2, "agent must not be empty"),
    ],
)
@pytest.mark.usefixtures("empty_storage")
def test_invalid_keys_are_not_created(cli: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    """The error names the invalid option and the valid values."""
    refused = cli("keys", "create", *arguments)
    assert refused.code == code
    assert message in refused.err
    assert cli("keys", "list", "--json").json == {"keys": []}
