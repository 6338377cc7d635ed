"""Harken for AI assistants: a server of the Model Context Protocol. Requires the extra ``mcp``."""

from harken.configuration.extras import requires

with requires("The MCP server", "mcp"):
    from harken_adapters.hosts.mcp.app import create_app

__all__ = ["create_app"]
