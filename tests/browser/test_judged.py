"""The page of a judged method, as a file that someone was sent, in a headless Chromium."""

import pytest

from browser.common import DESK, PHONE
from prunelib.pages import judge

pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The page of a method whose results are committed."""
    folder = tmp_path_factory.mktemp("judged")
    return judge.report("phew", "resnet8_digits", "paper", folder=folder, train=False).path


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_reads_alone_and_fits(browser, judged, size):
    """Its answers begin on the first screen; it asks for nothing, and does not scroll sideways."""
    context = browser.new_context(viewport=size, offline=True)
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(judged.as_uri())
    sizes = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(page.evaluate(sizes)) <= size["width"]
    assert (
        page.get_by_text("Does it choose weights or layers?").bounding_box()["y"] < size["height"]
    )
    pictures = page.locator("img")
    assert pictures.count() == 6
    assert pictures.evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 600)")
    assert [url for url in asked if not url.startswith(("data:", judged.as_uri()))] == []
    assert wrong == []
    context.close()
