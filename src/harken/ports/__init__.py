"""The interfaces that adapters implement. The contract of each is in its docstring."""
