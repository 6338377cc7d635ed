"""Make the pictures of the README: ``make pictures``, or ``python docs/images/make_pictures.py overview``.

They show the demo at a fixed time, in Chromium, light and dark. The same program and fonts give the same pictures.
"""

import base64
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

import harken
from harken.domain.feedback import DEFAULT_APPLICATION
from harken_adapters.demo.history import fill
from harken_adapters.demo.receiver import Receiver
from harken_adapters.demo.serving import SEED
from harken_adapters.demo.settings import demo_settings
from harken_adapters.demo.story import Story
from harken_adapters.demo.visitors import Visitors
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.serving.threaded_host import ThreadedHost
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.web.routes import PAGES
from harken_adapters.hosts.wsgi import WsgiApp
from harken_adapters.text import text_adapters

FOLDER = Path(__file__).parent
#: A Wednesday afternoon.
NOW = datetime(2026, 5, 13, 14, 20, tzinfo=UTC)
SETTINGS = ServerSettings(
    access="open", token_secrets=("a secret of the pictures only, which signs nothing else",), listeners=16
)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
#: Draws a PNG on a canvas, and returns it as WebP, which is less than half as large.
TO_WEBP = """async png => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext("2d").drawImage(image, 0, 0);
    const webp = await canvas.convertToBlob({type: "image/webp", quality: 0.7});
    const bytes = new Uint8Array(await webp.arrayBuffer());
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
}"""


def wait_until_live(page: Page) -> None:
    """Wait until the page receives events, which its top bar shows."""
    page.locator(".live:not(.off)").wait_for()


def choose_complaint(page: Page) -> None:
    """Choose a real complaint among the spam, in which the phrase that held it is marked."""
    page.locator(".q a", has_text="Really? Click here").click()
    page.locator("mark").first.wait_for()
    wait_until_live(page)


def explain(page: Page) -> None:
    """Choose a reason and write a comment, without sending them."""
    second = page.locator("harken-feedback").nth(1)
    second.locator(".down").click()
    second.locator(".reason").first.click()
    second.locator("textarea").fill("The app still wants 25 € for it")


#: For each picture: the path of the page, what is done on it, and its width and height in pixels.
PICTURES: dict[str, tuple[str, Callable[[Page], None], tuple[int, int]]] = {
    # Two weeks until the bad release was replaced.
    "overview": ("/dashboard?since=2026-04-20&until=2026-05-04", wait_until_live, (1280, 1345)),
    "moderation": ("/dashboard/moderation", choose_complaint, (1280, 690)),
    "widget": ("/demo", explain, (560, 776)),
}


@contextmanager
def served_demo() -> Iterator[str]:
    """Serve the demo as it is at the fixed time; gives its URL."""
    with TemporaryDirectory() as folder, Receiver() as receiver:
        storage, random, story = f"sqlite:///{folder}/feedback.db", Random(SEED), Story.until(NOW)  # noqa: S311 - sample feedback
        visitors = Visitors(story, random, application=DEFAULT_APPLICATION)
        fill(storage, visitors, story, receiver, random, now=NOW, application=DEFAULT_APPLICATION)
        parts: dict[str, Any] = {**demo_settings(receiver.url), **text_adapters()}
        with harken.connect(storage, clock=lambda: NOW, **parts) as hk:
            host = ThreadedHost(Api(hk, SETTINGS, clock=lambda: NOW), PAGES)
            app: Any = WsgiApp(SETTINGS, harken=hk)
            app.service = host
            server = make_server("127.0.0.1", 0, app, threaded=True)
            thread = Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.port}"
            finally:
                host.stop_streams()
                server.shutdown()
                thread.join()
                host.close()


def steady(page: Page) -> bytes:
    """A picture of the page, as PNG, when nothing on it changes any more."""
    before, png = b"", page.screenshot(animations="disabled", caret="hide")
    while png != before:
        before, png = png, page.screenshot(animations="disabled", caret="hide")
    return png


def take(browser: Browser, url: str, name: str, theme: Literal["light", "dark"]) -> bytes:
    """Take a picture, as WebP."""
    path, prepare, (width, height) = PICTURES[name]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce", timezone_id="UTC"
    )
    context.clock.set_fixed_time(NOW)
    page = context.new_page()
    response = page.goto(f"{url}{path}", wait_until="load")
    if response is None or not response.ok:
        sys.exit(f"{path} cannot be shown: {response and response.status}")
    prepare(page)
    png = steady(page)
    page.goto("about:blank")
    webp = base64.b64decode(page.evaluate(TO_WEBP, base64.b64encode(png).decode()))
    context.close()
    return webp


def main(names: list[str]) -> None:
    """Make these pictures; all without names."""
    if unknown := set(names) - PICTURES.keys():
        sys.exit(f"Unknown pictures {', '.join(sorted(unknown))}; expected some of {', '.join(PICTURES)}")
    program = shutil.which("chromium")
    if program is None:
        sys.exit("The pictures need Chromium; install it, for example with 'apt-get install chromium'")
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with served_demo() as url, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        for name in names or PICTURES:
            for theme in THEMES:
                target = FOLDER / f"{name}-{theme}.webp"
                target.write_bytes(take(browser, url, name, theme))
                print(f"{target}: {target.stat().st_size // 1024} KB")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
