"""Sphinx's configuration of the site. `make site` gathers its sources first, see
`prunelib.pages.site`; nothing is executed, and nothing is fetched."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx import addnodes

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
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_render_markdown_format = "myst"  # CommonMark, the default, has no tables
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "exclude-members": "model_config",  # pydantic's own
}
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


SHORT, LONG = 13, 60  # characters of a cell that is not broken, and of one that needs room


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
    """In HTML that pages bring along, lead links to notebooks to their pages, and set tables."""
    for raw in doctree.findall(nodes.raw):
        if raw.get("format") == "html":
            text = re.sub(r'href="([\w/.]+)\.ipynb"', r'href="\1.html"', raw.astext())
            text = re.sub(r"<td>([^<]+)</td>", _cell, text)
            raw[0] = nodes.Text(re.sub(r"<table.*?</table>", _numbered, text, flags=re.DOTALL))


def _cell(found):
    return f'<td class="{_width(found[1])}">{found[1]}</td>'


def _width(text):
    return "short" if len(text) <= SHORT else "long" if len(text) > LONG else ""


def _numbered(found):
    """A table of pandas, marked where its rows have no names but numbers."""
    table = found[0]
    names = re.findall(r"<tr>\s*<th>(.*?)</th>", table)
    begin = int(names[0]) if names and names[0].isdecimal() else 0
    counted = names == [str(begin + i) for i in range(len(names))]
    unnamed = table.count("<tr", 0, max(table.find("</thead>"), 0)) == 1
    if names and counted and unnamed and begin != 1:
        return table.replace('class="dataframe"', 'class="dataframe numbered"')
    return table


def link_claims(app, doctree):
    """Lead the numbers of claims in what a notebook answers to their rows in the ledger."""
    texts = [text for text in doctree.findall(nodes.Text) if type(text.parent) is nodes.paragraph]
    for text in texts:
        parts = re.split(r"\(([0-9A-Z]+\.\d\d)(?=[:)])", text)
        if len(parts) > 1 and next(_above(text, "cell_code_output"), None):
            found = [nodes.Text(parts[0])]
            for claim, rest in zip(parts[1::2], parts[2::2], strict=True):
                place = f"../claims.html#claim-{claim}"
                link = nodes.reference("", claim, refuri=place, internal=True)
                found += [nodes.Text("("), link, nodes.Text(rest)]
            text.parent.replace(text, found)


def set_tables(app, doctree):
    """Say of the cells of tables which are short and which are long."""
    for body in doctree.findall(nodes.tbody):
        for cell in body.findall(nodes.entry):
            cell["classes"] += [width] if (width := _width(cell.astext())) else []


def name_types(app, doctree):
    """Of the fields of records show what fits, in words, for pydantic's own annotation of them."""
    for annotation in doctree.findall(addnodes.desc_annotation):
        if said := re.search(r"FieldInfo\(.*description='([^']*)'", annotation.astext()):
            annotation.children = [nodes.Text(f": {said[1]}")]


COLON = "\ue000"  # stands for one while docstrings are parsed


def one_a_line(app, what, name, obj, options, lines):
    """Before they are parsed: parameters and errors of docstrings in lines of their own; and the
    first words of an attribute up to a colon not taken for its type."""
    inside, split = False, []
    for line in lines:
        inside = line in ("Args:", "Raises:", "Attributes:") or (inside and line[:1] in ("", " "))
        parts = re.split(r"(?<=\.) (?=\w+: )", line) if inside else [line]
        split += [parts[0], *(f"    {part}" for part in parts[1:])]
    if what in ("attribute", "property"):
        split[0] = split[0].replace(":", COLON)
    lines[:] = split


def plain_marks(app, what, name, obj, options, lines):
    """In docstrings, bars are absolute values and stars are products, not reStructuredText."""
    lines[:] = [re.sub(r"([|*])", r"\\\1", line).replace(COLON, ":") for line in lines]


def setup(app):
    app.add_html_math_renderer("mathml", (show_math, None), (show_math, None))
    app.connect("autodoc-process-docstring", one_a_line, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", plain_marks)
    app.connect("doctree-read", describe_images)
    app.connect("doctree-read", lead_to_pages, priority=600)
    app.connect("doctree-read", link_claims)
    app.connect("doctree-read", set_tables)
    app.connect("doctree-read", name_types)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
