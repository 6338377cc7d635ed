"""Settings: their sources, their precedence, and the errors of invalid ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import ConfigurationError
from harken.configuration.settings import Settings
from support import a_submission

#: For each setting: a value for the file, the environment and the call, and the resulting values.
SOURCES: dict[str, list[tuple[Any, Any]]] = {
    "storage": [('"memory://"', "memory://"), ("sqlite:///b.db", "sqlite:///b.db"), ("x://c", "x://c")],
    "application": [('"file"', "file"), ("environ", "environ"), ("argument", "argument")],
    "max_comment_length": [("10", 10), ("20", 20), (30, 30)],
    "reason_when_down": [("false", False), ("Yes", True), (False, False)],
    "spam": [('"hold"', "hold"), ("allow", "allow"), ("refuse", "refuse")],
    "spam_phrases": [('["a", "b"]', ("a", "b")), (" c d ,, e ", ("c d", "e")), (["f"], ("f",))],
    "max_queue": [("1", 1), (" 2 ", 2), (3, 3)],
    "max_batch": [("4", 4), ("5", 5), (6, 6)],
    "languages": [('["cs"]', ("cs",)), ("ja, zh", ("ja", "zh")), (["pl"], ("pl",))],
    "retention": [('"400 days"', "400 days"), ("90d", "90d"), ("forever", "forever")],
    "embeddings": [("true", True), ("no", False), (True, True)],
}


@pytest.mark.parametrize("name", SOURCES)
def test_precedence(name: str, tmp_path: Path) -> None:
    """Arguments override variables, variables the file, and the file defaults; None counts as no argument."""
    (in_file, from_file), (in_environ, from_environ), (argument, from_argument) = SOURCES[name]
    assert getattr(Settings.load({}, tmp_path), name) == getattr(Settings(), name)
    (tmp_path / "harken.toml").write_text(f"{name} = {in_file}\n")
    environ = {f"HARKEN_{name.upper()}": in_environ, "OTHER": "ignored"}
    assert getattr(Settings.load({}, tmp_path), name) == from_file
    assert getattr(Settings.load(environ, tmp_path), name) == from_environ
    assert getattr(Settings.load(environ, tmp_path, **{name: None}), name) == from_environ
    assert getattr(Settings.load(environ, tmp_path, **{name: argument}), name) == from_argument


def test_all_settings_are_tested() -> None:
    """The table above has every setting."""
    assert set(SOURCES) == set(Settings.__annotations__)


def test_another_file(tmp_path: Path) -> None:
    """HARKEN_CONFIG names another file, which must exist then; empty, it is ignored."""
    elsewhere = tmp_path / "elsewhere.toml"
    (tmp_path / "harken.toml").write_text('application = "here"\n')
    environ = {"HARKEN_CONFIG": str(elsewhere)}
    with pytest.raises(ConfigurationError, match=r"Cannot read the settings in .*elsewhere\.toml"):
        Settings.load(environ, tmp_path)
    elsewhere.write_text('application = "größer"\n', encoding="utf-8")
    assert Settings.load(environ, tmp_path).application == "größer"
    assert Settings.load({"HARKEN_CONFIG": ""}, tmp_path).application == "here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"max_batch = ", "Cannot read the settings in"),
        (b'application = "\xff"', "Cannot read the settings in"),
        (
            b"max_bach = 1\nzzz = 2",
            r"unknown settings 'max_bach' \(did you mean 'max_batch'\?\), 'zzz'; expected one of application, ",
        ),
        (
            b"[sever]\nport = 1",
            r"unknown table '\[sever\]' \(did you mean '\[server\]'\?\); expected one of \[alerts\], ",
        ),
        (
            b'[application.shop]\nretention = "90 days"',
            r"unknown table '\[application\]' \(did you mean '\[applications\]'\?\); expected one of \[alerts\], ",
        ),
        (b"[[chanels]]", r"unknown setting 'chanels' \(did you mean '\[channels\]'\?\)"),
        (b'max_batch = "1"', "max_batch in .* must be of type int, got '1'"),
        (b"max_batch = true", "max_batch in .* must be of type int, got True"),
        (b"max_batch = 1.0", "max_batch in .* must be of type int, got 1.0"),
        (b"reason_when_down = 1", "reason_when_down in .* must be of type bool, got 1"),
        (b"storage = 1", "storage in .* must be of type str, got 1"),
        (b'spam_phrases = "casino"', "spam_phrases in .* must be a list of strings, got one string"),
        (b"spam_phrases = [1]", "spam_phrases in .* must be a list of strings"),
        (
            b"spam_phrases = " + b"[" * 5_000 + b"]" * 5_000,
            "Cannot read the settings in .*: the values are nested too deeply",
        ),
        (b"max_batch = 0", "max_batch in .*harken.toml must be at least 1, got 0"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    """The error of a file has its name and that of the setting."""
    (tmp_path / "harken.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        Settings.load({}, tmp_path)


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    """The error of an unreadable file says so."""
    (tmp_path / "harken.toml").mkdir()
    with pytest.raises(ConfigurationError, match="Cannot read the settings"):
        Settings.load({}, tmp_path)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"HARKEN_MAX_QUEUE": "many"}, "HARKEN_MAX_QUEUE is invalid: .*'many'"),
        ({"HARKEN_MAX_BATCH": ""}, "HARKEN_MAX_BATCH is invalid"),
        ({"HARKEN_MAX_BATCH": "-1"}, "HARKEN_MAX_BATCH must be at least 1, got -1"),
        ({"HARKEN_REASON_WHEN_DOWN": "maybe"}, "HARKEN_REASON_WHEN_DOWN is invalid: expected true or false"),
        ({"HARKEN_SPAM": "drop"}, "HARKEN_SPAM must be 'refuse', 'hold' or 'allow', got 'drop'"),
        ({"HARKEN_APPLICATION": " "}, "HARKEN_APPLICATION must not be empty"),
    ],
)
def test_bad_variables(tmp_path: Path, environ: Mapping[str, str], message: str) -> None:
    """The error of an invalid variable has its name."""
    with pytest.raises(ConfigurationError, match=message):
        Settings.load(environ, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_comment_length": 0}, "max_comment_length must be at least 1, got 0"),
        ({"max_queue": "5"}, "max_queue must be of type int, got '5'"),
        ({"max_batch": True}, "max_batch must be of type int, got True"),
        ({"reason_when_down": "no"}, "reason_when_down must be of type bool, got 'no'"),
        ({"spam": "drop"}, "spam must be"),
        ({"spam_phrases": "casino"}, "spam_phrases must be a list of strings, got one string"),
        ({"spam_phrases": ["casino", 5]}, "spam_phrases must be a list of strings, got a list with other values"),
        ({"spam_phrases": ["casino", " "]}, "spam_phrases must not contain an empty string"),
        ({"application": "\x00"}, "application must not contain control characters"),
        ({"languages": ["en", "xx"]}, "There are no stop words for 'xx'; languages must be ISO 639-1 codes"),
        ({"storage": Path("feedback.db")}, "storage must be of type str, got .*Path"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    """The error of an invalid argument has its name, for each way to create the settings."""
    with pytest.raises(ConfigurationError, match=message):
        Settings.load({}, tmp_path, **arguments)
    with pytest.raises(ConfigurationError, match=message):
        Settings(**arguments)


@given(st.text(), st.sampled_from(sorted(SOURCES)))
def test_any_variable(text: str, name: str) -> None:
    """Any text in a variable is a setting or a configuration error."""
    try:
        settings = Settings.load({f"HARKEN_{name.upper()}": text}, Path("nowhere"))
    except ConfigurationError:
        return
    assert type(getattr(settings, name)) is type(getattr(Settings(), name))


def test_the_policy_of_the_settings() -> None:
    """The settings of the rules define the policy."""
    policy = Settings(max_comment_length=3, reason_when_down=False, spam="hold", spam_phrases=("buy",)).policy()
    assert not policy.judge(a_submission(rating="down")).violations
    assert [one.code for one in policy.judge(a_submission(comment="long")).violations] == ["too_long"]
    assert [one.code for one in policy.judge(a_submission(comment="buy")).suspicions] == ["spam"]
