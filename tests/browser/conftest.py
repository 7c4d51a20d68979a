"""A browser, and the built site served on this machine."""

import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from browser.common import BUILT, PAGES


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and prints nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address():
    """Where the site is served."""
    if not PAGES:
        pytest.skip("the site is not built: make site")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=BUILT))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, as CHROMIUM or PATH names it."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the packages of the extra site")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not program:
        pytest.skip("there is no Chromium: name one in CHROMIUM, or put `chromium` on PATH")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


LEFT = "net::ERR_ABORTED"  # of a request for which the page that asked did not wait


@pytest.fixture
def page(browser, address):
    """A tab whose addresses begin at the site, and what went wrong in it, as `page.wrong`."""
    context = browser.new_context(base_url=address)
    tab = context.new_page()
    tab.wrong = []
    tab.on("console", lambda m: m.type in ("error", "warning") and tab.wrong.append(m.text))
    tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
    tab.on("requestfailed", lambda r: r.failure == LEFT or tab.wrong.append(r.url))
    tab.on("response", lambda r: r.status >= 400 and tab.wrong.append(f"{r.status} {r.url}"))
    tab.on("request", lambda r: r.url.startswith(address) or tab.wrong.append(f"asks {r.url}"))
    yield tab
    context.close()
