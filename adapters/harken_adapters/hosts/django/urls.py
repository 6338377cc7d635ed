"""The URL patterns of Harken, to include under a prefix. Unknown paths below it are answered with problem details.

To include Harken at the root of a project, use :mod:`harken_adapters.hosts.django.root_urls`.
"""

from __future__ import annotations

from typing import Final

from django.urls import re_path

from harken_adapters.hosts.django import root_urls
from harken_adapters.hosts.django.views import answer_rest

app_name: Final = "harken"
urlpatterns: Final = [*root_urls.urlpatterns, re_path(r"^(?P<rest>(?s:.*))$", answer_rest, name="nothing")]
