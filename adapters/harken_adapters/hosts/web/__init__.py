"""The dashboard: pages for people, on every web host."""
