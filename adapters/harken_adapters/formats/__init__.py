"""File and JSON formats that the hosts share."""
