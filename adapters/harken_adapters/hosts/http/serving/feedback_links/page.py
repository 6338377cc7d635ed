"""The page of a feedback link, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from attrs import field, frozen
from jinja2 import Environment, StrictUndefined, Template

from harken import Feedback
from harken_adapters.hosts.http.serving.feedback_links.form import content_version
from harken_adapters.hosts.http.serving.feedback_links.texts import REASONS, TEXTS, Texts, direction

#: The maximum length of the text that the browser accepts, in UTF-16 code units. In any script, the form then fits
#: into the default ``max_body``, so that the server can report a comment that is too long.
MAX_COMMENT: Final = 5_000


@frozen(kw_only=True)
class View:
    """What the page shows.

    Attributes:
        language: its language.
        title: what to show instead of the question, if no vote is possible.
        hint: what to do, if no vote is possible.
        label: what the vote is about.
        notice: what has just happened.
        alert: why the last request failed.
        vote: the stored vote.
        choice: the rating for which the form is shown, ``"up"`` or ``"down"``; ``None`` to show the vote, or the
            buttons if there is none.
        comment: the comment in the form.
        tags: the chosen reasons in the form.
        errors: messages about fields of the form, by ``comment`` and ``tags``.
        load: identifies this load of the form.
    """

    language: str
    title: str = ""
    hint: str = ""
    label: str | None = None
    notice: str = ""
    alert: str = ""
    vote: Feedback | None = None
    choice: str | None = None
    comment: str = ""
    tags: Sequence[str] = ()
    errors: Mapping[str, Sequence[str]] = field(factory=dict)
    load: str = ""

    @property
    def texts(self) -> Texts:
        """The texts in its language."""
        return TEXTS[self.language]

    @property
    def heading(self) -> str:
        """The title of the document. Screen readers read it first, so it says what has happened."""
        problems = [message for messages in self.errors.values() for message in messages]
        return next(filter(None, (self.title, self.alert, *problems, self.notice)), self.texts.question)

    @property
    def names(self) -> Mapping[str, str]:
        """The names of the standard reasons, by tag."""
        return dict(zip(REASONS, self.texts.reasons, strict=True))

    @property
    def reasons(self) -> Sequence[tuple[str, str]]:
        """The tags and names of the reasons to choose from. They include chosen tags that are not standard reasons."""
        others = [(tag, tag) for tag in dict.fromkeys(self.tags) if tag not in REASONS]
        return [*self.names.items(), *others]

    @property
    def undo(self) -> int | None:
        """Identifies the vote that Undo withdraws."""
        return content_version(self.vote) if self.vote else None

    def html(self) -> bytes:
        """The page."""
        page = _template().render(
            view=self,
            texts=self.texts,
            language=self.language,
            direction=direction(self.language),
            max_comment=MAX_COMMENT,
        )
        return page.encode()


@cache
def style() -> bytes:
    """The style sheet."""
    return files(__package__).joinpath("style.css").read_bytes()


@cache
def _template() -> Template:
    source = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)
