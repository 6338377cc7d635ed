"""Statistics in MongoDB: sums by day, kept in editions."""
