"""What embeds Harken or shows it: one module or package for each host."""
