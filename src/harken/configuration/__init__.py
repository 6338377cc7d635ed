"""Settings, and what they refer to: channels, routes, alert rules, storages and plug-ins."""
