"""Sphinx's configuration of the site. `make site` gathers its sources first, see
`prunelib.pages.site`; nothing is executed, and nothing is fetched."""

import re

from docutils import nodes
from latex2mathml.converter import convert

from prunelib import __version__
from prunelib.pages import draw, gallery

project = "Why are we missing the mark?"
author = "The authors of this companion"
version = release = __version__
html_title = "Missing the mark: a companion"
html_show_copyright = False

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
]
templates_path = ["_templates"]
exclude_patterns = ["extra", "fragments"]
html_extra_path = ["extra"]

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True}
default_role = "py:obj"
napoleon_use_ivar = True
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "alpha"

pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "github-dark-high-contrast"
html_math_renderer = "mathml"
html_theme = "furo"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def show_math(translator, node):
    """Write a formula as MathML, which browsers draw without a script."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def describe_images(app, doctree):
    """Give the images of notebooks an alternative text, and those of figures links to the rest."""
    title = next((node.astext() for node in doctree.findall(nodes.title)), "")
    for image in list(doctree.findall(nodes.image)):
        bundle = next(_above(image, "mime_bundle"), None)
        if bundle is None or image.get("alt"):
            continue
        said = next((n.astext() for n in bundle.findall(nodes.literal_block)), "")
        section = next((n[0].astext() for n in _above(image) if isinstance(n, nodes.section)), "")
        name = draw.named(said)
        image["alt"] = said if name else f"{section}, of {title}"
        if name:
            text = gallery.linked(name, "../")
            if key := gallery.claims_of(name):
                text += f', <a href="../claims.html?figure={key}">claims</a>'
            links = nodes.raw("", f'<p class="behind">{text}</p>', format="html")
            bundle.parent.insert(bundle.parent.index(bundle) + 1, links)


def _above(node, element=None):
    while node := node.parent:
        if element is None or node.get("nb_element") == element:
            yield node


def lead_to_pages(app, doctree):
    """In HTML that pages bring along, lead links to notebooks to their pages."""
    for raw in doctree.findall(nodes.raw):
        if raw.get("format") == "html":
            raw[0] = nodes.Text(re.sub(r'href="([\w/.]+)\.ipynb"', r'href="\1.html"', raw.astext()))


def plain_marks(app, what, name, obj, options, lines):
    """In docstrings, bars are absolute values and stars are products, not reStructuredText."""
    lines[:] = [re.sub(r"([|*])", r"\\\1", line) for line in lines]


def setup(app):
    app.add_html_math_renderer("mathml", (show_math, None), (show_math, None))
    app.connect("autodoc-process-docstring", plain_marks)
    app.connect("doctree-read", describe_images)
    app.connect("doctree-read", lead_to_pages, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
