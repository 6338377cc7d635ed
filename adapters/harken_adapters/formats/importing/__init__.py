"""Imports feedback from files of other programs: what their columns, ratings and dates mean, and the import itself."""
