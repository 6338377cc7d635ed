"""Use cases: they hold ports, call the domain, and own no format and no driver."""
