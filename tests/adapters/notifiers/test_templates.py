"""Templates of routes: their language, and its limits."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from time import monotonic
from tracemalloc import get_traced_memory, reset_peak, start, stop
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.errors import ConfigurationError, TemplateTooCostly
from harken.ports.text import TemplateRenderer
from harken.services.notifications.template_values import largest_values
from harken.testing.builders import a_feedback
from harken.testing.notifier_contract import a_notification
from harken_adapters.formats.notification import notification_record
from harken_adapters.notifiers.templates import JinjaRenderer
from support import in_threads

VALUES: dict[str, Any] = {
    "rating": "down",
    "comment": "Too <slow> & {{ 7 * 7 }}",
    "agent": None,
    "tags": ["slow", "wrong"],
    "figures": {"items": 3, "downs": 4},
    "rows": [{"name": "a"}, {"name": "b"}],
}
FILL = ["{{ comment }}", "{% if tags %}", "{% endif %}", "{% for t in tags %}", "{% endfor %}", "{{", "}}", "{%", "%}"]
FILL += ["|join", "|tojson", "figures", ".downs", "[0]", "__class__", "loop", "self", " * ", " ~ ", "9" * 9, "'", "\n"]


@pytest.fixture
def renderer() -> TemplateRenderer:
    """A new renderer."""
    return JinjaRenderer()


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{ rating }}: {{ comment }}", "down: Too <slow> & {{ 7 * 7 }}"),
        ("[{{ agent }}]", "[]"),
        ("{{ agent or 'nobody' }}", "nobody"),
        ("{{ missing|default('none') }}", "none"),
        ("{{ figures.downs }} of {{ figures['items'] + 1 }}", "4 of 4"),
        ("{{ (figures.downs / figures.items * 100)|round(1) }} %", "133.3 %"),
        ("{{ figures.items }}", "3"),
        ("{% if rating == 'down' %}oh{% else %}ah{% endif %}", "oh"),
        ("{% for t in tags %}{{ loop.index }} {{ t }}{{ '' if loop.last else ', ' }}{% endfor %}", "1 slow, 2 wrong"),
        ("{{ tags|join(', ') }} {{ rows|join('+', attribute='name') }}", "slow, wrong a+b"),
        ("{% for name, count in figures|dictsort %}{{ name }}={{ count }};{% endfor %}", "downs=4;items=3;"),
        ("{{ comment|truncate(7, true, '') }}{{ comment[:3] }}", "Too <slToo"),
        ("{{ tags|tojson }} {{ comment|e }}", '["slow", "wrong"] Too &lt;slow&gt; &amp; {{ 7 * 7 }}'),
        ("{{ 'a' if tags is defined and 'slow' in tags else 'b' }}{# nothing #}{% raw %}{{ }}{% endraw %}", "a{{ }}"),
    ],
)  # fmt: skip
def test_rendering(renderer: TemplateRenderer, template: str, text: str) -> None:
    """Values are inserted once, lists can be looped over, and ``None`` is empty."""
    renderer.check(template)
    assert renderer.render(template, VALUES) == text


def test_a_record(renderer: TemplateRenderer) -> None:
    """A template can use the record of a notification."""
    record = notification_record(a_notification(feedback=a_feedback("s-1", comment="Fine", tags=("quick",))))
    template = "{{ type }} {{ data.session_id }} {{ data.comment }} {{ data.tags|join }}"
    assert renderer.render(template, record) == "feedback.created s-1 Fine quick"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ rating", "The template is invalid: unexpected end of template"),
        ("a\n{% if %}", "(line 2)"),
        ("{{ rating|shout }}", "unknown filter 'shout'; expected one of abs, "),
        ("{% if false %}{{ rating|shout }}{% endif %}", "unknown filter 'shout'"),
        ("{{ rating is loud }}", "unknown test 'loud'; expected one of "),
        ("{% set a = 1 %}", "assign is not allowed; a template can use {{ }}, {% if %}, {% for %}, "),
        ("x" * 10_001, "A template may have at most 10,000 characters, this one has 10,001"),
    ],
)
def test_invalid_templates(renderer: TemplateRenderer, template: str, message: str) -> None:
    """An invalid template is refused when it is checked and when it is rendered, with the reason."""
    for use in (renderer.check, partial(renderer.render, values=VALUES)):
        with pytest.raises(ConfigurationError) as caught:
            use(template)
        assert message in str(caught.value)


def test_a_template_that_is_not_text(renderer: TemplateRenderer) -> None:
    """A template of another type is refused."""
    with pytest.raises(ConfigurationError, match="A template must be a string, got int"):
        renderer.check(7)  # type: ignore[arg-type] # as settings may have it


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ nothing.more }}", "'nothing' is undefined"),
        ("{{ nothing + 1 }}", "'nothing' is undefined"),
        ("{% for one in nothing %}{% endfor %}", "'nothing' is undefined"),
        ("{{ nothing|join }}", "'nothing' is undefined"),
        ("{{ nothing|tojson }}", "'nothing' is undefined"),
        ("{{ figures.ups }}", "has no attribute 'ups'"),
        ("{{ tags[7] }}", "no element 7"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ rating + 1 }}", "+ needs numbers"),
        ("{{ 1.5|round(99) }}", "round takes 0 to 15 places, got 99"),
        ("{{ 'abc'|truncate(1) }}", "expected length >= 3, got 1"),
        ("{{ figures[tags] }}", "a value is looked up by a name or a number, not by list"),
        ("{{ 0x" + "f" * 1_000 + " }}", "a number must be between"),
        ("{% for t in tags %}{{ loop }}{% endfor %}", "LoopContext is not a value that a template can use"),
    ],
)
def test_templates_that_cannot_be_rendered(renderer: TemplateRenderer, template: str, message: str) -> None:
    """A missing value or one of another type is an error when the template is rendered, but not when it is checked."""
    renderer.check(template)
    with pytest.raises(ConfigurationError) as caught:
        renderer.render(template, VALUES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ comment.__class__.__mro__ }}",
        "{{ comment['__class__'] }}",
        "{{ comment|attr('__class__') }}",
        "{{ comment.format }}",
        "{{ '{0.__class__}'.format(comment) }}",
        "{{ '%s'|format(comment) }}",
        "{{ tags.append }}",
        "{{ figures.keys() }}",
        "{{ rows|join(attribute='__class__') }}",
        "{{ rows|sort(attribute='name.__class__')|join }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum() }}",
        "{{ namespace() }}",
        "{% for t in tags %}{{ loop.__class__ }}{% endfor %}",
        "{% for t in tags %}{{ loop._iterator }}{% endfor %}",
        "{% include 'secrets' %}",
        "{% import 'os' as os %}",
        "{% extends rating %}",
        "{% macro m() %}{% endmacro %}",
        "{% block b %}{% endblock %}",
        "{% with a = 1 %}{% endwith %}",
        "{% filter upper %}{% endfilter %}",
    ],
)
def test_python_objects_cannot_be_accessed(renderer: TemplateRenderer, template: str) -> None:
    """A template cannot read attributes of Python objects, make calls or include other templates."""
    with pytest.raises(ConfigurationError):
        renderer.render(template, VALUES)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10 ** 9 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ tags * 1000000000 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ " + "9" * 3_000 + " * " + "9" * 3_000 + " }}",
        "{{ '%1000000000d' % 1 }}",
        "{% for a in range(1000000000) %}{% endfor %}",
        "{% for a in comment %}{% endfor %}",
        "{% for a in long %}{% endfor %}",
        "{{ long|join }}",
        "{% for a in tags %}{% for b in tags %}{% endfor %}{% endfor %}",
        "{% for a in tags recursive %}{{ loop(tags) }}{% endfor %}",
        "{{ 'a'|center(1000000000) }}",
        "{{ 'a'|indent(1000000000) }}",
        "{{ tags|tojson(indent=1000000000) }}",
        "{{ 1.5|round(1000000000) }}",
        "{{ 1.5|round(1000000000, 'ceil') }}",
        "{{ comment" + "|urlencode" * 40 + " }}",
        "{{ (comment ~ comment)" + "|replace('a', 'aaaaaaaaaa')" * 20 + " }}",
        "{{ " + "(" * 4_000 + "1" + ")" * 4_000 + " }}",
        "{{ " + "not " * 2_000 + "1 }}",
        "{% if 1 %}" * 400 + "{% endif %}" * 400,
    ],
    ids=lambda template: template[:40],
)
def test_no_template_runs_for_long(renderer: TemplateRenderer, template: str) -> None:
    """A template that would use much memory or time is refused at once."""
    begun = monotonic()
    with pytest.raises(ConfigurationError):
        renderer.render(template, {**VALUES, "long": list(range(101)), "comment": "é%" * 500})
    assert monotonic() - begun < 30


ONES = "[" + ",".join("1" * 100) + "]"
#: Nested joins of 100 items, four levels deep: 100 million characters from 860.
NESTED = f"{ONES}|join({ONES}|join({ONES}|join({ONES}|join('aaaaaaaaaa'))))"


TOO_COSTLY = (
    "{{ " + NESTED + " }}",
    "{{ (" + NESTED + ")|length }}",
    "{% if " + NESTED + " %}{% endif %}",
    "{% for t in [" + NESTED + "] %}{% endfor %}",
    "{{ comment|default(" + NESTED + ") }}",
    "{% if " + NESTED + " == comment %}{% endif %}",
    f"{{{{ {ONES}|join(comment|e)|length }}}}",
    f"{{{{ {ONES}|join({ONES}|join('a b c d e f g h i j '))|title|length }}}}",
    f"{{{{ {ONES}|join({ONES}|join('123456789'))|sort|length }}}}",
    "{{ comment" + "|urlencode" * 10 + "|length }}",
    "{{ (comment" + "~comment" * 1_000 + ")|length }}",
    "{{ [" + "comment," * 1_000 + "]|string|length }}",
    "{{ (context" + "~context" * 20 + ")|length }}",
    "{% for c in [comment] %}{{ [" + "c," * 500 + "]|tojson|length }}{% endfor %}",
    "{% for x in [[" + "[]," * 900 + "]] %}{% if [" + "x," * 900 + "] is string %}{% endif %}{% endfor %}",
    "{% for x in [[" + "1," * 900 + "]] %}{% if [" + "x," * 900 + "] == 1 %}{% endif %}{% endfor %}",
    "{% for x in [[" + "1," * 900 + "]] %}{{ [" + "x," * 900 + "]|unique|length }}{% endfor %}",
    f"{{% for t in {ONES} %}}" + "{% if comment[1:] %}{% endif %}" * 50 + "{% endfor %}",
    f"{{% for t in {ONES} %}}" + "{% if 'b' in comment %}{% endif %}" * 50 + "{% endfor %}",
    f"{{% for t in {ONES} %}}" + "{{ comment[:0] }}" * 100 + "{% endfor %}",
    f"{{% for t in {ONES} %}}" + "{% if t < 0 %}a{% endif %}" * 300 + "{% endfor %}",
    f"{{% for t in {ONES} %}}" + "{{ (t|abs)[:0] if t is string }}" * 250 + "{% endfor %}",
    f"{{% for t in {ONES} if " + " or ".join(["comment[:0]"] * 20) + " %}{% endfor %}",
    "{{ comment|max(attribute='" + "0." * 1_000 + "0') }}",
    "{{ comment|sort(attribute='" + "0," * 1_000 + "0')|length }}",
    "{{ comment|trim('" + "w" * 3_000 + "') }}",
    "{{ [" + "1," * 4_900 + "]|length }}",
    "{{ 1" + "<1" * 4_900 + " }}",
)


@pytest.mark.parametrize("template", TOO_COSTLY, ids=lambda template: template[:40])
def test_too_much_work_is_refused_before_it_is_done(renderer: TemplateRenderer, template: str) -> None:
    """Compiling, reading or writing too much is an error with this reason."""
    with pytest.raises(TemplateTooCostly, match=r"The template does too much work: .* 2,000,000 units together"):
        renderer.render(template, largest_values())


@pytest.mark.slow
@pytest.mark.parametrize("template", TOO_COSTLY, ids=lambda template: template[:40])
def test_a_costly_template_needs_little_memory(renderer: TemplateRenderer, template: str) -> None:
    """A template is refused before its text is created: 20 MB are enough."""
    start()
    try:
        reset_peak()
        with pytest.raises(TemplateTooCostly):
            renderer.render(template, largest_values())
        assert get_traced_memory()[1] < 20_000_000
    finally:
        stop()


@pytest.mark.parametrize(
    "template",
    [
        "{{ '%1000000000d' is divisibleby(1) }}",
        "{{ '%1000000000d' is even }}",
        "{{ '%1000000000d' is odd }}",
        "{{ [[1]]|sum(start=[]) }}",
        "{{ 'a'|join(*comment) }}",
        "{{ comment|default(**context) }}",
        "{{ 'a' ** 9 }}",
        "{{ 1e308 * 1e308 }}",
        "{{ 0x" + "f" * 9_000 + " }}",
        "{{ 1" + "0" * 9_000 + " }}",
        "{{ rating" + "|upper" * 1_000 + " }}",
        "{{ rating" + ".a" * 4_000 + " }}",
        "{{ " + "[" * 4_000 + "]" * 4_000 + " }}",
        "{{ 1" + " if 1" * 1_500 + " }}",
        "{{ 1" + "+1" * 4_000 + " }}",
        "{{ dict(a=1) }}",
        "{{ range(9) }}",
        "{% set x = comment %}{% set x = x ~ x %}",
        "{% macro m() %}{{ m() }}{% endmacro %}",
        "{% call rating() %}{% endcall %}",
    ],
    ids=lambda template: template[:40],
)
def test_costly_features_are_not_supported(renderer: TemplateRenderer, template: str) -> None:
    """Formatting, calls, sums of lists and deep nesting are refused, independent of their cost."""
    with pytest.raises(ConfigurationError):
        renderer.render(template, largest_values())


def test_a_check_evaluates_nothing(renderer: TemplateRenderer) -> None:
    """A check only compiles the template; constants are evaluated when it is rendered."""
    renderer.check("{{ 1 / 0 }}{{ 'a'|truncate(1) }}{{ " + NESTED + " }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ comment }}",
        "{{ comment|e }} {{ comment|upper }} {{ comment|title }} {{ comment|wordcount }} words",
        "{{ comment|trim|truncate(200) }} ({{ comment|length }})",
        "https://example.com/?q={{ comment|urlencode }}&by={{ author|urlencode }}",
        "{{ context }}",
        "{{ context|tojson }}",
        "{{ tags|tojson }} {{ tags|sort|join(', ') }} {{ tags|unique|join }}",
        "{% for name, value in context|dictsort %}{{ name|e }}: {{ value|e|truncate(20) }}\n{% endfor %}",
        "{% for name, value in context|items %}{% if value %}{{ (name ~ '=' ~ value)[:20] }}{% endif %}{% endfor %}",
        "{% for tag in tags %}{% if tag in comment %}{{ loop.index }}. {{ tag|upper }}{% endif %}{% endfor %}",
        "{% if 'word' in comment|lower and rating == 'down' %}{{ (figures|length / 3)|round(1) }}{% endif %}",
        "Dear reader, " * 500 + "{{ session_id }}" * 20,
    ],
    ids=lambda template: template[:40],
)
def test_ordinary_templates_work_with_the_largest_feedback(renderer: TemplateRenderer, template: str) -> None:
    """A comment of 10,000 characters, 20 tags and 50 long context values, of any characters, can be rendered."""
    for letter in ("w", "\x01", "\N{GRINNING FACE}", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "'"):
        values = largest_values()
        values |= {"comment": (letter * 4 + " ") * 2_000, "context": {f"c{n}": letter * 1_000 for n in range(50)}}
        assert len(renderer.render(template, values)) <= 4_000


@given(st.lists(st.sampled_from(FILL), max_size=60).map("".join), st.data())
def test_work_is_the_same_each_time(template: str, data: st.DataObject) -> None:
    """The cost depends only on the template and its values, not on templates compiled before."""
    comment = data.draw(st.sampled_from(["", "x" * 1_000, "x" * 200_000]))
    renderer, outcomes = JinjaRenderer(), []
    for _ in range(2):
        try:
            outcomes.append(renderer.render(template, {**VALUES, "comment": comment}))
        except ConfigurationError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_long_texts_are_cut(renderer: TemplateRenderer) -> None:
    """A text above 4,000 characters is cut and ends with an ellipsis."""
    values = {"comment": "x" * 1_000, "tags": ["y" * 100] * 100}
    assert renderer.render("{{ comment }}" * 4, values) == "x" * 4_000
    assert renderer.render("{{ comment }}" * 4 + "z", values) == "x" * 3_999 + "…"
    everything = renderer.render("{% for tag in tags %}{{ tag }}{{ comment }}{% endfor %}" * 50, values)
    assert len(everything) == 4_000


def test_values_are_not_templates(renderer: TemplateRenderer) -> None:
    """User text is inserted, and never interpreted as a template."""
    for value in ("{{ 1 + 1 }}", "{% raw %}", "{# c #}", "{{", "%}"):
        assert renderer.render("{{ comment }}", {"comment": value}) == value


def test_threads_share_a_renderer(renderer: TemplateRenderer) -> None:
    """Threads can render one template at the same time."""
    calls = [partial(renderer.render, "{{ number }}", {"number": number}) for number in range(8)]
    assert in_threads(calls) == [str(number) for number in range(8)]


@given(st.lists(st.sampled_from(FILL) | st.text(max_size=5), max_size=20).map("".join))
def test_any_text_is_a_template_or_is_refused(template: str) -> None:
    """Any template gives a text of limited length or a ``ConfigurationError``."""
    renderer = JinjaRenderer()
    with suppress(ConfigurationError):
        assert len(renderer.render(template, VALUES)) <= 4_000


@given(st.text())
def test_any_value_is_inserted_verbatim(value: str) -> None:
    """For any text."""
    assert JinjaRenderer().render("<{{ comment }}>", {"comment": value}) == f"<{value}>"


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Jinja2 the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "harken_adapters.notifiers.templates")
    with pytest.raises(ConfigurationError, match=r'try pip install "harken\[notify\]"'):
        __import__("harken_adapters.notifiers.templates")
