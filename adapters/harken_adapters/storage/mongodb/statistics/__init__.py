"""Statistics in MongoDB: sums by day, stored as editions."""
