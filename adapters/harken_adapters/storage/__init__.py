"""Where feedback is kept: one module or package for each storage."""
