"""Hosts: integrations that serve Harken or embed it in a framework, one module or package each."""
