"""What the core asks of the world; each contract stands in the docstring of its port."""
