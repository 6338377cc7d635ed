"""The settings of the demo: channels, routes, alert rules and replies."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, Final, TypedDict, cast

#: The form is that of ``harken.toml``.
_SETTINGS: Final = """\
spam = "hold"

[channels.log]
kind = "log"

[channels.product-team]
kind = "webhook"
url = "{receiver}/product"
secret = "{secret}"
allow = ["127.0.0.1"]

[channels.orders]
kind = "webhook"
url = "{receiver}/orders"
secret = "{secret}"
allow = ["127.0.0.1"]

[channels.help-desk]
kind = "webhook"
url = "{receiver}/help-desk"
secret = "{secret}"
allow = ["127.0.0.1"]

[[routes]]
name = "alerts-to-log"
channel = "log"
events = ["alert.raised", "alert.resolved"]

[[routes]]
name = "alerts-to-product-team"
channel = "product-team"
events = ["alert.raised", "alert.resolved"]

[[routes]]
name = "wrong-answers"
channel = "product-team"
events = ["feedback.created"]
ratings = ["down"]
agents = ["travel-desk"]
tags = ["wrong"]

[[routes]]
name = "payments"
channel = "orders"
events = ["feedback.created", "feedback.withdrawn"]
ratings = ["down"]
agents = ["billing-helper"]

[[routes]]
name = "people-who-need-help"
channel = "help-desk"
events = ["feedback.created"]
ratings = ["down"]
tags = ["other", "unclear"]

[[alerts]]
name = "unhappy-with-agent"
kind = "satisfaction"
by = "agent"
below = 60
window = "12h"
at_least = 20

[[alerts]]
name = "no-feedback"
kind = "silence"
after = "4h"

[[alerts]]
name = "seven-in-a-row"
kind = "streak"
by = "agent"
length = 7

[[alerts]]
name = "moderation-queue"
kind = "queue"
longer_than = 10

[[replies]]
tag = "slow"
text = "Sorry that it took this long. We are adding capacity."

[[replies]]
tag = "wrong"
agent = "billing-helper"
text = "Thank you. A colleague checks your invoice within a day."

[[replies]]
tag = "unclear"
text = "Thank you, we will write this more clearly."
"""
#: It signs what is sent to a receiver of the same process, which does not check it.
_SECRET: Final = "whsec_aGFya2VuIGRlbW8sIG5vdCBhIHNlY3JldA=="  # noqa: S105


class DemoSettings(TypedDict):
    """The arguments of ``harken.connect`` with these names."""

    spam: Any
    channels: Mapping[str, Mapping[str, object]]
    routes: list[Mapping[str, object]]
    alert_rules: list[Mapping[str, object]]
    replies: list[Mapping[str, object]]


def settings_text(receiver: str) -> str:
    """The settings as the text of ``harken.toml``.

    Args:
        receiver: the URL of :class:`harken_adapters.demo.receiver.Receiver`.
    """
    return _SETTINGS.format(receiver=receiver, secret=_SECRET)


def demo_settings(receiver: str) -> DemoSettings:
    """The same settings, as arguments of ``harken.connect``."""
    tables = tomllib.loads(settings_text(receiver))
    tables["alert_rules"] = tables.pop("alerts")
    return cast("DemoSettings", tables)
