"""The page of a feedback link, which works without scripts."""
