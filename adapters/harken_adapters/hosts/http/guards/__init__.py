"""Access control: credentials, permissions, rate limits, origins and idempotency keys."""
