"""The built site in a browser, without a network: `make test-site`."""

import base64
import re
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import numpy as np
import pytest

from browser.common import BUILT, DESK, PAGES, PHONE
from prunelib.pages import site

pytestmark = pytest.mark.site
EMBEDDED = ("data:", "blob:")


class Document(HTMLParser):
    """The identifiers of a page, where it leads, and its pictures without a text."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.silent = set(), [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.update(filter(None, (found.get("id"), found.get("name") if tag == "a" else None)))
        if target := found.get("href") or found.get("src"):
            self.links.append(target)
        if tag == "img" and not found.get("alt"):
            self.silent.append(found.get("src"))


@cache
def document(path):
    return Document(path)


def lost(name):
    """The links of a page inside the site that lead to no file, or to no place in it."""
    wrong = []
    for link in document(BUILT / name).links:
        target, anchor = urldefrag(link)
        if re.match(r"\w+:|//", target):
            continue
        target = unquote(target.partition("?")[0])
        path = ((BUILT / name).parent / target).resolve() if target else BUILT / name
        there = path.is_file() and path.is_relative_to(BUILT)
        known = document(path).ids if there and path.suffix == ".html" else {unquote(anchor)}
        if not there or (anchor and unquote(anchor) not in known):
            wrong.append(link)
    return wrong


def test_every_page_of_the_navigation_was_built():
    pages = [page for pages in site.navigation().values() for page in pages]
    assert len(pages) > 25
    assert [page for page in pages if f"{page}.html" not in PAGES] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_inside_the_site_leads_somewhere(name):
    assert lost(name) == []


@pytest.mark.parametrize("name", PAGES)
def test_pictures_have_a_text(name):
    assert document(BUILT / name).silent == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_load_and_fit(page, name):
    """Without an error or a failed request, and on a phone without scrolling sideways."""
    page.set_viewport_size(PHONE)
    page.goto(name)
    sizes = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(page.evaluate(sizes)) <= PHONE["width"]
    page.set_viewport_size(DESK)
    assert max(page.evaluate(sizes)) <= DESK["width"]
    assert page.wrong == []


def test_a_notebook_answers_on_its_first_screen_and_shows_its_code_when_asked(page):
    page.set_viewport_size(DESK)
    page.goto("notebooks/05_ablations.html")
    assert page.get_by_text("What was found here").bounding_box()["y"] < 2 / 3 * DESK["height"]
    code = page.get_by_text("resnet8_digits").first
    assert not code.is_visible()
    page.get_by_text("Show the code").first.click()
    assert code.is_visible()
    assert page.wrong == []


def test_what_a_notebook_answers_leads_to_the_claim(page):
    """From the first page to the row of the ledger that says on which evidence: three clicks."""
    page.goto("index.html")
    finding = page.locator("#what-we-found tr", has_text="SynFlow at initialisation")
    finding.get_by_role("link").click()
    page.get_by_role("link", name="5.07", exact=True).click()
    row = page.locator(".ledger tr:target")
    row.wait_for()
    assert row.locator("td").first.inner_text() == "5.07"
    assert row.evaluate("row => row.offsetTop - row.closest('div').scrollTop") < 600  # in its box
    row.get_by_role("link").click()
    page.wait_for_url("**/notebooks/05_ablations.html")
    assert page.wrong == []


def test_on_a_phone_findings_do_not_scroll_and_figures_can_be_read(page):
    page.set_viewport_size(PHONE)
    page.goto("index.html")
    tables = page.locator("#what-we-found .table-wrapper")
    assert tables.count() > 1  # what was found, and accuracies of the paper's networks
    fits = tables.evaluate_all("boxes => boxes.map(box => box.scrollWidth <= box.clientWidth)")
    assert all(fits)
    page.goto("notebooks/05_ablations.html")
    assert page.locator(".cell_output img").first.bounding_box()["width"] > 600  # drawn for 940


def test_modules_are_named_in_one_line(page):
    page.set_viewport_size(PHONE)
    page.goto("api.html")
    lines = page.locator("td:first-child code").evaluate_all(
        "all => all.map(c => c.getClientRects().length)"
    )
    assert len(lines) > 20
    assert set(lines) == {1}


def test_the_reference_says_in_words_what_a_record_takes_and_lists_every_parameter():
    records = (BUILT / "api/prunelib.results.records.html").read_text()
    records = re.sub(r"<[^>]*>", "", records)
    assert "precision: one of fp32, tf32, bf16" in records
    assert "FieldInfo" not in records
    assert "ConfigDict" not in records
    masks = (BUILT / "api/prunelib.masks.html").read_text()
    assert len(re.findall(r"<strong>(?:method|sparsity|iterations)</strong>", masks)) > 5


def test_the_search_finds_neuron_collapse(page):
    page.goto("index.html")
    page.get_by_placeholder("Search").first.fill("neuron collapse")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    assert "05_ablations" in " ".join(a.get_attribute("href") for a in found.all())
    assert page.wrong == []


def test_claims_can_be_chosen_by_address_and_by_word(page):
    page.goto("claims.html?figure=5")
    rows = page.locator(".ledger tbody tr:visible")
    shown = rows.evaluate_all("rows => rows.map(row => row.dataset.figure)")
    assert len(shown) > 10
    assert set(shown) == {"5"}
    page.get_by_label("a word").fill("synflow")
    page.get_by_label("verdict").select_option("supported")
    assert 0 < rows.count() < len(shown)
    assert all("SynFlow" in text for text in rows.all_inner_texts())


def explorer(page, setting):
    page.goto(f"explorer.html?setting={setting}")
    page.locator("#explorer-controls[data-ready]").wait_for()


def lines(page, chart):
    """The lines of a chart: what their points say."""
    marks = page.locator(f"[data-chart={chart}] .mark-line path[aria-label]")
    return marks.evaluate_all("all => all.map(mark => mark.getAttribute('d'))")


def test_the_explorer_answers(page):
    explorer(page, "resnet8_digits")
    before = {chart: lines(page, chart) for chart in ("accuracy", "layers", "collapse")}
    assert [len(found) for found in before.values()] == [6, 6, 5]  # late masks have no neurons
    page.get_by_label("SNIP", exact=True).uncheck()
    assert len(lines(page, "accuracy")) == 5
    page.get_by_label("SNIP", exact=True).check()
    page.get_by_role("slider").fill("17")
    assert page.locator("output").inner_text() == "98.2 %"
    assert lines(page, "layers") != before["layers"]
    page.locator("select[name=ablation]").select_option("Inverted")
    assert (
        "Not trained, inverted: Magnitude after training, Random"
        in page.locator(".explorer-said").inner_text()
    )
    assert page.wrong == []


def test_the_explorer_says_what_was_not_run(page):
    explorer(page, "vgg16_cifar10")
    said = page.locator(".explorer-said").inner_text()
    assert re.search(
        r"Nothing was trained of it: Figures 3 and 4 take [\d,]+ trained networks", said
    )
    assert lines(page, "accuracy") == []
    assert len(lines(page, "layers")) == 5


def test_the_slider_of_masks_answers(page):
    page.goto("notebooks/03_methods.html")
    slider, box = page.get_by_role("slider"), page.locator(".masks")
    sparsities = slider.get_attribute("data-percents").split()
    masks = [svg.get_attribute("data-bits") for svg in box.locator("svg").all()]
    kept = [np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8)) for bits in masks]
    kept = [bits.reshape(len(sparsities), -1) for bits in kept]
    cells = "all => all.map(path => path.getAttribute('d').split('M').length - 1)"
    for place, sparsity in enumerate(sparsities):
        slider.fill(str(place))
        assert box.locator("label output").inner_text() == sparsity
        drawn = box.locator("path[fill]").evaluate_all(cells)
        assert drawn == [bits[place].sum() for bits in kept]
        shares = box.locator("figcaption output").all_inner_texts()
        assert shares == [f"{100 * bits[place].mean():.1f}" for bits in kept]
    assert page.wrong == []
