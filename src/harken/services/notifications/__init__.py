"""Use cases around notifications: routes, channels, deliveries, and the relay that sends them."""
