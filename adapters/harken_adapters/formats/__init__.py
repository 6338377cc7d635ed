"""File formats that the hosts share."""
