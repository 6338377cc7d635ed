"""Clients of Harken's HTTP API, with the names and values of ``Harken``."""

from harken.configuration.extras import requires

with requires("The client", "client"):
    from harken_adapters.client.async_client import AsyncClient
    from harken_adapters.client.async_events import AsyncEvents
    from harken_adapters.client.client import Client
    from harken_adapters.client.events import Events

__all__ = ["AsyncClient", "AsyncEvents", "Client", "Events"]
