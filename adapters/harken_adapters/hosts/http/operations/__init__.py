"""Everything that the API can do, one module for each subject."""

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
    metadata,
    moderating,
    routes,
    submitting,
    voting,
    watching,
)

#: The most used first, as some frameworks look at one path after the other.
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
    *deliveries.OPERATIONS,
)
