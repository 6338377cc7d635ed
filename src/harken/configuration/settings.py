"""Settings: from arguments, ``HARKEN_*`` variables and ``harken.toml``, in this order of precedence."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import AttrsInstance, field, fields, frozen

from harken.domain.errors import ConfigurationError
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.rules import MAX_COMMENT_LENGTH, SPAM_PHRASES, RatingPolicy, label_problem
from harken.domain.texts import unknown_names

CONFIG_FILE = "harken.toml"
#: The tables that ``harken.toml`` may have for parts of Harken that read their own settings.
SECTIONS = ("server", "channels", "routes", "alerts", "replies")
_PREFIX = "HARKEN_"
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

T = TypeVar("T", bound=AttrsInstance)


@frozen(kw_only=True)
class Settings:
    """What can be set.

    Attributes:
        storage: the storage's URL.
        application: whose feedback it is, where a call does not say.
        max_comment_length: code points, after trimming.
        comment_when_down: whether a down needs a comment.
        spam: what spam does: ``refuse``, ``hold`` for a moderator, or ``allow``.
        spam_phrases: what makes a comment spam, in whatever case.
        max_queue: how many submissions may wait to be written before new ones are refused.
        max_batch: how many submissions one write carries at most.
    """

    storage: str = field(default="sqlite:///feedback.db")
    application: str = field(default=DEFAULT_APPLICATION)
    max_comment_length: int = field(default=MAX_COMMENT_LENGTH)
    comment_when_down: bool = field(default=True)
    spam: str = field(default="refuse")
    spam_phrases: tuple[str, ...] = field(default=SPAM_PHRASES)
    max_queue: int = field(default=10_000)
    max_batch: int = field(default=1_000)

    def __attrs_post_init__(self) -> None:
        check_types(self)
        for name in ("max_comment_length", "max_queue", "max_batch"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")
        if problem := label_problem("application", self.application):
            raise ConfigurationError(problem.message)
        if not all(phrase.strip() for phrase in self.spam_phrases):
            raise ConfigurationError("spam_phrases must not be empty texts, which every comment contains")
        self.policy()

    def policy(self) -> RatingPolicy:
        """The rating policy that these settings describe.

        Raises:
            ConfigurationError: ``spam`` is not one of its three words.
        """
        try:
            return RatingPolicy.standard(
                max_comment_length=self.max_comment_length,
                comment_when_down=self.comment_when_down,
                spam=self.spam,
                spam_phrases=self.spam_phrases,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    @classmethod
    def load(cls, environ: Mapping[str, str], directory: Path, **arguments: Any) -> Settings:
        """The settings in force: arguments that are not ``None``, then ``environ``, then the file, then defaults.

        The file is ``harken.toml`` in ``directory``, or what ``HARKEN_CONFIG`` names.

        Raises:
            ConfigurationError: an unknown name in the file, a value that makes no sense, or the named file is absent.
        """
        return load(cls, environ, directory, **arguments)


def tables(environ: Mapping[str, str], directory: Path) -> Mapping[str, Any]:
    """What the file says of parts of Harken that read their own settings, by the names in :data:`SECTIONS`.

    Raises:
        ConfigurationError: the file cannot be read, or the named one is absent.
    """
    path, named = _path(environ, directory)
    content = _content(path, required=named)
    return {name: content[name] for name in SECTIONS if name in content}


def load(kind: type[T], environ: Mapping[str, str], directory: Path, section: str = "", **arguments: Any) -> T:
    """Settings of a kind: arguments that are not ``None``, then ``environ``, then the file, then defaults.

    Args:
        kind: an attrs class; each of its attributes has a default, whose type is the setting's.
        environ: where ``HARKEN_<NAME>`` is looked up, or ``HARKEN_<SECTION>_<NAME>``.
        directory: where ``harken.toml`` is looked for, if ``HARKEN_CONFIG`` names no other file.
        section: the table of the file that has these settings; without one they stand at its top.
        arguments: what was asked for by whoever calls.

    Raises:
        ConfigurationError: an unknown name in the file, a value that makes no sense, or the named file is absent.
    """
    kinds = {attribute.name: type(attribute.default) for attribute in fields(kind)}
    path, named = _path(environ, directory)
    values = _from_file(path, kinds, section, required=named)
    values |= _from_environ(environ, kinds, f"{_PREFIX}{section.upper()}_" if section else _PREFIX)
    values |= {name: _checked(name, kinds[name], value) for name, value in arguments.items() if value is not None}
    return kind(**values)


def check_types(settings: AttrsInstance) -> None:
    """Whether each setting has the type of its default, for settings that were made directly.

    Raises:
        ConfigurationError: one has not; the message does not repeat a secret.
    """
    for attribute in fields(type(settings)):
        _checked(attribute.name, type(attribute.default), getattr(settings, attribute.name))


def _path(environ: Mapping[str, str], directory: Path) -> tuple[Path, bool]:
    """Where the file is, and whether somebody named it, so that it must be there."""
    named = environ.get(f"{_PREFIX}CONFIG")
    return (Path(named), True) if named else (directory / CONFIG_FILE, False)


def _content(path: Path, *, required: bool) -> dict[str, Any]:
    if not path.exists() and not required:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"Cannot read the settings in {path}: {error}") from error


def _from_file(path: Path, kinds: Mapping[str, type], section: str, *, required: bool) -> dict[str, Any]:
    content = _content(path, required=required)
    where = f"[{section}] in {path}" if section else str(path)
    found = content.get(section, {}) if section else {k: v for k, v in content.items() if k not in SECTIONS}
    if not isinstance(found, dict):
        raise ConfigurationError(f"{section} in {path} must be a table, [{section}]; got {found!r}")
    if problem := unknown_names(found, sorted(kinds)):
        raise ConfigurationError(f"{where} sets {problem}")
    return {name: _checked(f"{name} in {where}", kinds[name], value) for name, value in found.items()}


def _checked(name: str, kind: type, value: object) -> object:
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    # Exactly this type: to Python, true is an integer too.
    if type(value) is not kind:
        if kind is tuple:
            # It may be a secret that was not put into a list.
            raise ConfigurationError(f"{name} must be a list of texts, got {_shape(value)}")
        raise ConfigurationError(f"{name} must be of type {kind.__name__}, got {value!r}")
    return value


def _shape(value: object) -> str:
    if isinstance(value, str):
        return "one text"
    return "a list with other things in it" if isinstance(value, list | tuple) else type(value).__name__


def _from_environ(environ: Mapping[str, str], kinds: Mapping[str, type], prefix: str) -> dict[str, object]:
    return {
        name: _parsed(f"{prefix}{name.upper()}", kind, environ[f"{prefix}{name.upper()}"])
        for name, kind in kinds.items()
        if f"{prefix}{name.upper()}" in environ
    }


def _parsed(name: str, kind: type, text: str) -> object:
    parsers: dict[type, Callable[[str], object]] = {str: str, int: int, bool: _truth, tuple: _list}
    try:
        return parsers[kind](text)
    except ValueError as error:
        raise ConfigurationError(f"{name} makes no sense: {error}") from None


def _truth(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"expected true or false, got {text!r}")
    return word in _TRUE


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
