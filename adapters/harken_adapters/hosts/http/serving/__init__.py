"""What hosts share when they serve the API: threads, event loops, WSGI and pages."""
