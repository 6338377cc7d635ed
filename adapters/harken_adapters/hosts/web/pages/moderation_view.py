"""The state of the page for moderation: what its address asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from harken import Cursor, FeedbackQuery, ModerationStatus
from harken_adapters.hosts.web.selection import Pair, Selection
from harken_adapters.hosts.web.visit import Visit

PATH: Final = "/moderation"
#: The parameters of what the page shows, and those of what happened before.
_OWN: Final = ("tab", "held_by", "like", "after", "current", "today")
DECIDED: Final = "decided"
#: What each tab lists, and the decisions that can be made there.
TABS: Final = {
    "waiting": (ModerationStatus.APPROVED, ModerationStatus.REJECTED),
    "rejected": (ModerationStatus.APPROVED,),
    "approved": (ModerationStatus.REJECTED,),
}
TAB_NAMES: Final = {"waiting": "Waiting", "rejected": "Rejected", "approved": "Approved by hand"}


@frozen(kw_only=True)
class View:
    """A state of the page: its selection and its own parameters.

    Attributes:
        selection: the filters.
        path: the path of the page.
        query: selects feedback with these filters, at any time.
        tab: what is listed, see :data:`TABS`.
        rule: lists only what this rule held.
        like: the id of an entry; lists only those with the same text.
        after: lists what comes after this position.
        current: the id of the entry to decide on; ``None`` for the first.
        all_of_today: whether all decisions of today are listed.
    """

    selection: Selection
    path: str
    query: FeedbackQuery
    tab: str
    rule: str | None
    like: str | None
    after: Cursor | None
    current: str | None
    all_of_today: bool = False

    @classmethod
    def of(cls, visit: Visit) -> View:
        """The state in the query string.

        Raises:
            Problem: a parameter is unknown or invalid.
            InvalidQuery: a filter is invalid.
        """
        selection = visit.selection(known=(*_OWN, DECIDED))
        parameters = selection.parameters
        return cls(
            selection=selection,
            path=f"{visit.home}{PATH}",
            query=evolve(
                selection.query,
                since=None,
                until=None,
                statuses=frozenset({ModerationStatus.APPROVED}),
                withdrawn=False,
            ),
            tab=selection.choice("tab", tuple(TABS)),
            rule=parameters.get("held_by"),
            like=parameters.get("like"),
            after=parameters.cursor(),
            current=parameters.get("current"),
            all_of_today=selection.choice("today", ("latest", "all")) == "all",
        )

    @property
    def tab_words(self) -> str:
        """What is true of the entries of the tab: ``approved by hand``."""
        return TAB_NAMES[self.tab].lower()

    @property
    def is_filtered(self) -> bool:
        """Whether it lists a part of what waits only."""
        return bool(self.rule or self.like or self.filters)

    @property
    def filters(self) -> list[str]:
        """The names of the filters in use; those on state do not concern the page."""
        return [name for name in dict(self.selection.filters) if name not in ("status", "withdrawn")]

    @property
    def action(self) -> str:
        """Where the forms of this state are sent."""
        return self._link(f"{self.path}/decisions", {})

    def link(self, **own: str | None) -> str:
        """A link to another state of the page, in which these parameters differ; ``None`` is their default."""
        return self._link(self.path, own)

    def link_with(self, name: str, value: str) -> str:
        """A link to the start of the list with one more filter."""
        return self._link(self.path, {"like": None, "after": None, "current": None, name: value})

    def link_without(self, name: str) -> str:
        """A link to the start of the list without a filter."""
        return self._link(self.path, {"after": None, "current": None}, without=[name])

    @property
    def unfiltered(self) -> str:
        """A link to the start of the same tab without filters."""
        own = {"held_by": None, "like": None, "after": None, "current": None}
        return self._link(self.path, own, without=self.filters)

    @property
    def kept(self) -> list[Pair]:
        """The parameters that a form for one more filter keeps."""
        own = [("tab", self.tab)] if self.tab != "waiting" else []
        return [*self.selection.pairs, *own, *([("held_by", self.rule)] if self.rule else [])]

    def _link(self, path: str, own: Mapping[str, str | None], without: Sequence[str] = ()) -> str:
        kept = {
            "tab": None if self.tab == "waiting" else self.tab,
            "held_by": self.rule,
            "like": self.like,
            "after": str(self.after) if self.after else None,
            "current": self.current,
            "today": "all" if self.all_of_today else None,
        }
        pairs = [(name, value) for name, value in {**kept, **own}.items() if value is not None]
        return self.selection.link(path, *pairs, without=without)
