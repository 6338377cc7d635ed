"""Tests and benchmarks.

This file makes the folder a package, so that ``python -m tests.benchmarks`` finds it. Canaille, the OpenID Connect
provider of the tests, installs a package ``tests`` too, which Python prefers to a folder that is not one.
"""
