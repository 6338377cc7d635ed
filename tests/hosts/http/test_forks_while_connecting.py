"""Forks during the first request, while a thread connects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A thread makes the first request, and the process is forked in the middle of it. Both processes then respond.
FORKING = """
import os, signal, sys
from threading import Event, Thread
from harken_adapters.hosts.http.serving import process_service

begun, forked = Event(), Event()
connect = process_service.connect_harken

def connect_slowly(*arguments):
    begun.set()
    return connect(*arguments)

process_service.connect_harken = connect_slowly
{host}
first = Thread(target=get)
first.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(0 if get() == 200 else 1)
forked.set()
first.join()
print(os.waitpid(child, 0)[1], get())
"""
FLASK = """
from harken_adapters.hosts.flask import create_app
client = create_app().test_client()
def get():
    return client.get("/readyz").status_code
"""
WSGI = """
from werkzeug.test import Client
from harken_adapters.hosts.wsgi import WsgiApp
client = Client(WsgiApp())
def get():
    return client.get("/readyz").status_code
"""
DJANGO = """
import types
import django
from django.conf import settings
from django.urls import include, path
urls = types.ModuleType("urls_of_the_project")
sys.modules["urls_of_the_project"] = urls
settings.configure(ROOT_URLCONF="urls_of_the_project", ALLOWED_HOSTS=["*"])
django.setup()
urls.urlpatterns = [path("", include("harken_adapters.hosts.django.urls"))]
from django.test import Client
def get():
    return Client().get("/readyz").status_code
"""
#: As above, but the process is forked while the first request loads the settings.
DJANGO_SETTINGS = f"""{DJANGO}
from harken_adapters.hosts.django.configuration import Configuration
load = Configuration.load

def load_slowly():
    begun.set()
    forked.wait()
    return load()

Configuration.load = load_slowly
os.register_at_fork(after_in_parent=forked.set, after_in_child=lambda: setattr(Configuration, "load", load))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", [FLASK, WSGI, DJANGO, DJANGO_SETTINGS], ids=["flask", "wsgi", "django", "django settings"]
)
def test_a_fork_during_the_first_request(host: str, tmp_path: Path) -> None:
    """The child of a process that was forked while it connected responds, and so does the parent."""
    environ = {**os.environ, "HARKEN_STORAGE": f"sqlite:///{tmp_path}/f.db"}
    command = [sys.executable, "-c", FORKING.replace("{host}", host)]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ended.stdout == "0 200\n", ended.stderr
