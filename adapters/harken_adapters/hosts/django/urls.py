"""All URLs of Harken, to be included under a prefix: what is below it and leads nowhere is told as at every host.

At the root of a project include :mod:`harken_adapters.hosts.django.root_urls`.
"""

from __future__ import annotations

from typing import Final

from django.urls import re_path

from harken_adapters.hosts.django import root_urls
from harken_adapters.hosts.django.views import answer_rest

app_name: Final = "harken"
urlpatterns: Final = [*root_urls.urlpatterns, re_path(r"^(?P<rest>(?s:.*))$", answer_rest, name="nothing")]
