"""Use cases: they use ports and the domain, and neither formats nor drivers."""
