"""The operations of the API, one module for each resource."""

from __future__ import annotations

from typing import Final

from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import (
    alerts,
    analytics,
    channels,
    deliveries,
    erasing,
    exporting,
    feedback,
    keys,
    metadata,
    moderating,
    routes,
    submitting,
    voting,
    watching,
)

#: Frequently used operations come first, as some frameworks match routes in order.
OPERATIONS: Final[tuple[Operation, ...]] = (
    *submitting.OPERATIONS,
    *voting.OPERATIONS,
    *feedback.OPERATIONS,
    *metadata.OPERATIONS,
    *moderating.OPERATIONS,
    *analytics.OPERATIONS,
    *exporting.OPERATIONS,
    *erasing.OPERATIONS,
    *watching.OPERATIONS,
    *alerts.OPERATIONS,
    *channels.OPERATIONS,
    *routes.OPERATIONS,
    *keys.OPERATIONS,
    *deliveries.OPERATIONS,
)
