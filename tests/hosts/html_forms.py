"""What a browser without scripts sees of an HTML page: its elements, texts and forms."""

from __future__ import annotations

from html.parser import HTMLParser

from attrs import define, field


@define
class Form:
    """A form: its method, its fields with their values, and its buttons."""

    method: str
    fields: list[tuple[str, str]] = field(factory=list)
    buttons: list[tuple[str, str]] = field(factory=list)

    def data(self, *button: tuple[str, str], **values: str | list[str]) -> list[tuple[str, str]]:
        """What the browser sends: the fields with other values, and the pressed button."""
        kept = [(name, value) for name, value in self.fields if name not in values]
        chosen = [
            (name, one) for name, value in values.items() for one in ([value] if isinstance(value, str) else value)
        ]
        return [*kept, *chosen, *button]


class Html(HTMLParser):
    """A parsed page.

    Attributes:
        elements: the names and attributes of all elements, in order.
        forms: its forms.
        text: all of its text.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.forms: list[Form] = []
        self.text = ""
        self._textarea: str | None = None
        self.feed(source)
        self.close()

    def attributes(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of all elements with this name."""
        return [attributes for element, attributes in self.elements if element == name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        found = dict(attrs)
        self.elements.append((tag, found))
        name, value = found.get("name"), found.get("value") or ""
        if tag == "form":
            self.forms.append(Form(found.get("method") or "get"))
        elif tag == "textarea":
            self._textarea = name or ""
            self.text += "\0"
        elif tag == "input" and name and (found.get("type") == "hidden" or "checked" in found):
            self.forms[-1].fields.append((name, value))
        elif tag == "button" and name:
            self.forms[-1].buttons.append((name, value))

    def handle_endtag(self, tag: str) -> None:
        """Record the text of a textarea, without its first line end, as browsers do."""
        if tag == "textarea" and self._textarea is not None:
            self.text, _, content = self.text.rpartition("\0")
            if self._textarea:
                self.forms[-1].fields.append((self._textarea, content.removeprefix("\n")))
            self.text += content
            self._textarea = None

    def handle_data(self, data: str) -> None:
        """Record text."""
        self.text += data
