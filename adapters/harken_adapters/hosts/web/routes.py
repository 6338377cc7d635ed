"""All pages: those of the service, and the dashboard."""

from __future__ import annotations

from typing import Final

from harken_adapters.hosts.http.serving.pages import SERVICE_PAGES, Page
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.web.assets import asset_response
from harken_adapters.hosts.web.pages import feedback_detail, feedback_list, filter, issues, overview
from harken_adapters.hosts.web.visit import DASHBOARD, page


def _asset(_: object, __: str, request: Request) -> Response:
    return asset_response(request.parts["name"], request)


DASHBOARD_PAGES: Final = (
    Page("dashboard_asset", f"{DASHBOARD}/static/{{name}}", _asset, needs="nothing", blocks=False),
    page("overview", overview.PATH, overview.show),
    page("issues", issues.PATH, issues.show),
    page("filter", filter.PATH, filter.show),
    page("feedback", feedback_list.PATH, feedback_list.show),
    page("feedback_detail", feedback_detail.PATH, feedback_detail.show),
)
PAGES: Final = (*SERVICE_PAGES, *DASHBOARD_PAGES)
