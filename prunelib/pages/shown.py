"""What notebooks show: tables in the words and the order of the paper, and no longer than a screen,
what comes after folded away; figures with a description in words."""

import pandas as pd
from IPython import get_ipython
from matplotlib.figure import Figure

from prunelib.pages import draw, style

ROWS = 25  # a table of no more is shown whole; of a longer one, what fits into so many lines
WIDTH = 30  # characters of a cell that stand in a line


def readable(data: pd.DataFrame) -> pd.DataFrame:
    """A data frame with its methods and ablations named and ordered as in figures, and sparsities
    in [0, 1) as the paper prints them; grouped by, they keep this order.

    Args:
        data: of its columns method, ablation, sparsity and when are changed, where it has them.
    """
    columns = {
        "method": (style.ordered, lambda method: style.method(method).label),
        "ablation": (lambda own: [a for a in style.VARIANTS if a in own], _variant),
        "sparsity": (sorted, lambda sparsity: f"{100 * sparsity:.1f} %"),
        "when": (list, str),
    }
    made = {}
    for name in columns.keys() & set(data.columns):
        order, word = columns[name]
        words = [word(key) for key in order(list(data[name].unique()))]
        made[name] = pd.Categorical(data[name].map(word), words)
    return data.assign(**made)


def _variant(ablation):
    return style.VARIANTS[ablation].label


def by_layer(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the layers of its rows named as in figures: "stage 1 block 1 conv 1".

    Args:
        table: a row each prunable layer of a network, indexed by their names in its state dict,
            with or without ".weight", from input to output.
    """
    return table.set_axis(
        style.layer_labels([name.removesuffix(".weight") for name in table.index])
    )


def rounded(table: pd.DataFrame, digits: int) -> pd.DataFrame:
    """A table whose numbers have so many decimals, and of which none reads minus zero."""
    numbers = table.select_dtypes("float").round(digits) + 0.0
    made = table.copy()
    made[numbers.columns] = numbers
    return made


def html(table: pd.DataFrame) -> str:
    """A table as pandas shows it, a long one in two parts, the second one folded. No row and no
    column is left out.

    Args:
        table: in the order in which it is to be read; the rows that come first are those shown.
    """
    first = fitting(table)
    with pd.option_context("display.max_rows", None, "display.max_columns", None):
        if first == len(table):
            return _plain(table)
        head, rest = _plain(table[:first]), _plain(table[first:])
    summary = f"<summary>The other {len(table) - first} of {len(table)} rows</summary>"
    return f"{head}\n<details>{summary}\n{rest}\n</details>"


def _plain(table):
    """What pandas makes of a table, with room for the sentences of one of claims."""
    if "claim" not in table:
        return table._repr_html_()
    column = "min-width:18em;text-align:left"
    css = f"<style>.claims td:nth-child(4), .claims th:nth-child(4) {{{column}}}</style>"
    return f'{css}<div class="claims">{table._repr_html_()}</div>'


def fitting(table: pd.DataFrame) -> int:
    """How many rows of a table are not folded: all where they are few, else what fits a screen,
    one at the least."""
    if len(table) <= ROWS:
        return len(table)
    lengths = table.astype(str).map(len)
    lines = (1 + (lengths - 1).clip(lower=0) // WIDTH).max(axis=1)
    return max(1, int((lines.cumsum() <= ROWS).sum()))


def in_notebook(shell) -> None:
    """Have a notebook show every data frame so.

    Args:
        shell: IPython's, of the notebook.
    """
    shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, html)


def in_words(fig: Figure) -> Figure:
    """The figure, which a notebook then also describes in words, for who cannot see it."""
    if shell := get_ipython():  # matplotlib drops what is registered before its first figure
        texts = shell.display_formatter.formatters["text/plain"]
        texts.for_type(Figure, lambda fig, printer, _: printer.text(draw.described(fig)))
    return fig
