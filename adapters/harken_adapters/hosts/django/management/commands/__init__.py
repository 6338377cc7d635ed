"""``manage.py harken``."""
