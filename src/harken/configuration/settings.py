"""Settings from arguments, ``HARKEN_*`` variables and ``harken.toml``, in this order of precedence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import AttrsInstance, field, fields, frozen

from harken.domain.errors import ConfigurationError
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.instants import FOREVER
from harken.domain.rules import MAX_COMMENT_LENGTH, SPAM_PHRASES, RatingPolicy, SpamHandling, label_problem
from harken.domain.texts import unknown_names
from harken.stop_words import LANGUAGES, stop_words

CONFIG_FILE = "harken.toml"
#: The tables of ``harken.toml`` that other modules read.
SECTIONS = ("server", "channels", "routes", "alerts", "replies", "digests", "applications")
_PREFIX = "HARKEN_"
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

T = TypeVar("T", bound=AttrsInstance)


@frozen(kw_only=True)
class Settings:
    """The settings of the library.

    Attributes:
        storage: the URL of the storage.
        application: the application of calls that do not name one.
        max_comment_length: in code points, after trimming.
        reason_when_down: whether a thumbs-down needs a comment or a reason tag.
        spam: what happens to spam: ``refuse``, ``hold`` for a moderator, or ``allow``.
        spam_phrases: phrases that make a comment spam, in upper or lower case.
        max_queue: how many submissions may wait to be written before new ones are refused.
        max_batch: how many submissions one write carries at most.
        languages: the languages of comments, as ISO 639-1 codes; their stop words are not part of themes.
        embeddings: whether sentiment is also learned from text embeddings, which needs the extra ``embeddings``.
        retention: how long feedback is kept, such as ``400 days``, or ``forever``; for applications that have no table
            ``[applications.<name>]`` with another one.
    """

    storage: str = field(default="sqlite:///feedback.db")
    application: str = field(default=DEFAULT_APPLICATION)
    max_comment_length: int = field(default=MAX_COMMENT_LENGTH)
    reason_when_down: bool = field(default=True)
    spam: SpamHandling = field(default="refuse")
    spam_phrases: tuple[str, ...] = field(default=SPAM_PHRASES)
    max_queue: int = field(default=10_000)
    max_batch: int = field(default=1_000)
    languages: tuple[str, ...] = field(default=LANGUAGES)
    embeddings: bool = field(default=False)
    retention: str = field(default=FOREVER)

    def __attrs_post_init__(self) -> None:
        check_types(self)
        for name in ("max_comment_length", "max_queue", "max_batch"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")
        if problem := label_problem("application", self.application):
            raise ConfigurationError(problem.message)
        if not all(phrase.strip() for phrase in self.spam_phrases):
            raise ConfigurationError("spam_phrases must not contain an empty string, which every comment contains")
        if self.languages != LANGUAGES:
            stop_words(self.languages)
        if self.retention != FOREVER:
            from harken.domain.retention import Retention  # noqa: PLC0415 - keeps `import harken` light

            Retention.parse(self.retention)
        self.policy()

    def policy(self) -> RatingPolicy:
        """The rating policy of these settings.

        Raises:
            ConfigurationError: ``spam`` is not ``refuse``, ``hold`` or ``allow``.
        """
        try:
            return RatingPolicy.standard(
                max_comment_length=self.max_comment_length,
                reason_when_down=self.reason_when_down,
                spam=self.spam,
                spam_phrases=self.spam_phrases,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    @classmethod
    def load(cls, environ: Mapping[str, str], directory: Path, **arguments: Any) -> Settings:
        """The settings from arguments that are not ``None``, then ``environ``, then the file, then defaults.

        The file is ``harken.toml`` in ``directory``, or what ``HARKEN_CONFIG`` names.

        Raises:
            ConfigurationError: the file has an unknown name, a value is invalid, or ``HARKEN_CONFIG`` does not exist.
        """
        return load(cls, environ, directory, **arguments)


def tables(environ: Mapping[str, str], directory: Path) -> Mapping[str, Any]:
    """The tables of the file that other modules read, by the names in :data:`SECTIONS`.

    Raises:
        ConfigurationError: the file cannot be read, or ``HARKEN_CONFIG`` does not exist.
    """
    path, named = _path(environ, directory)
    content = _content(path, required=named)
    return {name: content[name] for name in SECTIONS if name in content}


def load(
    kind: type[T],
    environ: Mapping[str, str],
    directory: Path,
    section: str = "",
    *,
    partial: bool = False,
    **arguments: Any,
) -> T:
    """Settings of a class: arguments that are not ``None``, then ``environ``, then the file, then defaults.

    Args:
        kind: an attrs class; each of its attributes has a default, whose type is the type of the setting.
        environ: has ``HARKEN_<NAME>``, or ``HARKEN_<SECTION>_<NAME>``.
        directory: has ``harken.toml``, unless ``HARKEN_CONFIG`` names another file.
        section: the table of the file that has these settings; by default, its top level.
        partial: whether the table has settings of other classes too, so that unknown names are ignored.
        arguments: values by name, which override all others.

    Raises:
        ConfigurationError: the file has an unknown name, a value is invalid, or ``HARKEN_CONFIG`` does not exist.
    """
    kinds = {attribute.name: type(attribute.default) for attribute in fields(kind)}
    path, named = _path(environ, directory)
    prefix = f"{_PREFIX}{section.upper()}_" if section else _PREFIX
    from_file = _from_file(path, kinds, section, required=named, partial=partial)
    from_environ = _from_environ(environ, kinds, prefix)
    given = {name: _checked(name, kinds[name], value) for name, value in arguments.items() if value is not None}
    sources = {name: f"{name} in {_place(path, section)}" for name in from_file}
    sources |= {name: f"{prefix}{name.upper()}" for name in from_environ} | {name: name for name in given}
    try:
        return kind(**from_file | from_environ | given)
    except ConfigurationError as error:
        # The message begins with the name of the setting. The user needs to know where it is set.
        name, space, rest = str(error).partition(" ")
        raise type(error)(f"{sources.get(name, name)}{space}{rest}") from error


def check_types(settings: AttrsInstance) -> None:
    """Check that each setting has the type of its default, for settings that were created directly.

    Raises:
        ConfigurationError: a setting has another type; the message does not contain a secret.
    """
    for attribute in fields(type(settings)):
        _checked(attribute.name, type(attribute.default), getattr(settings, attribute.name))


def _path(environ: Mapping[str, str], directory: Path) -> tuple[Path, bool]:
    """The path of the file, and whether ``HARKEN_CONFIG`` names it, so that it must exist."""
    named = environ.get(f"{_PREFIX}CONFIG")
    return (Path(named), True) if named else (directory / CONFIG_FILE, False)


def _place(path: Path, section: str) -> str:
    return f"[{section}] in {path}" if section else str(path)


def _content(path: Path, *, required: bool) -> dict[str, Any]:
    if not path.exists() and not required:
        return {}
    # Not at the top: it loads four modules, and few programs have this file.
    import tomllib  # noqa: PLC0415

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"Cannot read the settings in {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"Cannot read the settings in {path}: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"Cannot read the settings in {path}: the values are nested too deeply") from error


def _from_file(path: Path, kinds: Mapping[str, type], section: str, *, required: bool, partial: bool) -> dict[str, Any]:
    content = _content(path, required=required)
    where = _place(path, section)
    found = content.get(section, {}) if section else {k: v for k, v in content.items() if k not in SECTIONS}
    if not isinstance(found, dict):
        raise ConfigurationError(f"{section} in {path} must be a table, [{section}]; got {found!r}")
    if partial:
        found = {name: value for name, value in found.items() if name in kinds}
    known_tables = [] if section else [f"[{table}]" for table in sorted(SECTIONS)]
    # No setting is a table, so a name that is also that of a setting is a mistyped table.
    found_tables = [] if section else [f"[{name}]" for name, value in found.items() if isinstance(value, dict)]
    if problem := unknown_names(found_tables, known_tables, "table"):
        raise ConfigurationError(f"{where}: {problem}")
    if problem := unknown_names(found, [*sorted(kinds), *known_tables], "setting"):
        raise ConfigurationError(f"{where}: {problem}")
    return {name: _checked(f"{name} in {where}", kinds[name], value) for name, value in found.items()}


def _checked(name: str, kind: type, value: object) -> object:
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    # Exactly this type: in Python, true is an integer too.
    if type(value) is not kind:
        if kind is tuple:
            # The value may be a secret that should have been in a list.
            raise ConfigurationError(f"{name} must be a list of strings, got {_describe(value)}")
        raise ConfigurationError(f"{name} must be of type {kind.__name__}, got {value!r}")
    return value


def _describe(value: object) -> str:
    if isinstance(value, str):
        return "one string"
    return "a list with other values" if isinstance(value, list | tuple) else type(value).__name__


def _from_environ(environ: Mapping[str, str], kinds: Mapping[str, type], prefix: str) -> dict[str, object]:
    return {
        name: _parse(f"{prefix}{name.upper()}", kind, environ[f"{prefix}{name.upper()}"])
        for name, kind in kinds.items()
        if f"{prefix}{name.upper()}" in environ
    }


def _parse(name: str, kind: type, text: str) -> object:
    parsers: dict[type, Callable[[str], object]] = {str: str, int: int, bool: _parse_bool, tuple: _parse_list}
    try:
        return parsers[kind](text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is invalid: {error}") from None


def _parse_bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"expected true or false, got {text!r}")
    return word in _TRUE


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
