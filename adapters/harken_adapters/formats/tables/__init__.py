"""Reads rows from files of any format that people have feedback in."""
