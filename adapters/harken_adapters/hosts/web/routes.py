"""All pages: those of the service, and the dashboard."""

from __future__ import annotations

from typing import Final

from harken import Scope
from harken_adapters.hosts.http.serving.pages import SERVICE_PAGES, Page
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.web.assets import asset_response
from harken_adapters.hosts.web.pages import (
    alerts,
    decisions,
    feedback_detail,
    feedback_list,
    filter_values,
    issues,
    moderation,
    moderation_view,
    overview,
    preferences,
    replay_all,
    settings,
)
from harken_adapters.hosts.web.visit import DASHBOARD, page


def _asset(_: object, __: str, request: Request) -> Response:
    return asset_response(request.parts["name"], request)


#: The files that the pages of the dashboard load. They are the same for everyone.
DASHBOARD_FILES: Final = (
    Page("dashboard_asset", f"{DASHBOARD}/static/{{name}}", _asset, needs="nothing", blocks=False),
)
DASHBOARD_PAGES: Final = (
    page("overview", overview.PATH, overview.show, scope=None),
    page("issues", issues.PATH, issues.show),
    page("filter", filter_values.PATH, filter_values.show),
    page("feedback", feedback_list.PATH, feedback_list.show),
    page("feedback_detail", feedback_detail.PATH, feedback_detail.show),
    page("alerts", alerts.PATH, alerts.show, agent_keys=False),
    page("replay_delivery", alerts.REPLAY_PATH, alerts.replay, scope=Scope.ADMIN, methods=("POST",), agent_keys=False),
    page(
        "replay_all",
        alerts.REPLAY_ALL_PATH,
        replay_all.show,
        scope=Scope.ADMIN,
        methods=("GET", "HEAD", "POST"),
        agent_keys=False,
    ),
    page(
        "enable_channel",
        alerts.CHANNEL_ON_PATH,
        alerts.switch_on,
        scope=Scope.ADMIN,
        methods=("POST",),
        agent_keys=False,
    ),
    page(
        "disable_channel",
        alerts.CHANNEL_OFF_PATH,
        alerts.switch_off,
        scope=Scope.ADMIN,
        methods=("POST",),
        agent_keys=False,
    ),
    page("moderation", moderation_view.PATH, moderation.show, scope=Scope.MODERATE),
    page("decisions", decisions.PATH, decisions.show, scope=Scope.MODERATE, methods=("GET", "HEAD", "POST")),
    page("settings", settings.PATH, settings.show, scope=Scope.ADMIN),
    page(
        "create_key",
        settings.KEYS_PATH,
        settings.create,
        scope=Scope.ADMIN,
        methods=("GET", "HEAD", "POST"),
        is_secret=True,
    ),
    page("revoke_key", settings.KEY_PATH, settings.revoke, scope=Scope.ADMIN, methods=("POST",)),
    page(
        "save_route",
        settings.ROUTES_PATH,
        settings.save_route,
        scope=Scope.ADMIN,
        methods=("GET", "HEAD", "POST"),
        agent_keys=False,
    ),
    page(
        "remove_route",
        settings.ROUTE_PATH,
        settings.remove_route,
        scope=Scope.ADMIN,
        methods=("POST",),
        agent_keys=False,
    ),
    page("preferences", preferences.PATH, preferences.show, scope=None),
    *preferences.FORMS,
)
PAGES: Final = (*SERVICE_PAGES, *DASHBOARD_FILES, *DASHBOARD_PAGES)
