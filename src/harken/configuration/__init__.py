"""Settings, and what they name: channels, routes, alert rules, storages and plugins."""
