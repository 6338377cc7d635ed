"""Use cases of notifications: routes, channels, deliveries, and the relay that sends them."""
