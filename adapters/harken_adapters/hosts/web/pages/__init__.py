"""The pages of the dashboard, one module for each: what it asks of the services, as a value, and its response."""
