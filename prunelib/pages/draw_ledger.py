"""The ledger as one picture."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prunelib.findings.ledger import Entry
from prunelib.pages.verdicts import GROUPS, LOOKS

WRAP = 18  # marks in a line of the picture


def field(entries: Sequence[Entry]) -> Figure:
    """The whole ledger as one picture: a mark an entry, a row a section, a panel for each of
    `GROUPS`."""
    lines, places = 0.0, {}
    for section in dict.fromkeys(e.section for e in entries):
        counts = [
            sum(e.section == section and belongs(e) for e in entries) for belongs in GROUPS.values()
        ]
        places[section] = lines
        lines += max(1, *(-(-count // WRAP) for count in counts)) + 0.6
    fig, axes = plt.subplots(1, len(GROUPS), figsize=(12, 1.2 + 0.19 * lines), sharey=True)
    for ax, (name, belongs) in zip(axes, GROUPS.items(), strict=True):
        own = [e for e in entries if belongs(e)]
        for section, top in places.items():
            found = sorted(
                (e for e in own if e.section == section), key=lambda e: list(LOOKS).index(e.verdict)
            )
            for i, e in enumerate(found):
                colour, marker = LOOKS[e.verdict]
                ax.plot(i % WRAP, top + i // WRAP, marker, color=colour, markersize=6)
        ax.set_title(f"{name[0].upper()}{name[1:]}\n{len(own)} verdicts")
        ax.set_xlim(-1, WRAP)
        ax.set_xticks([])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    axes[0].set_yticks(list(places.values()), [_section(s) for s in places])
    axes[0].set_ylim(lines, -1)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=verdict)
        for verdict, (colour, marker) in LOOKS.items()
    ]
    fig.legend(handles=handles, loc="lower center", ncols=len(LOOKS))
    fig.tight_layout(rect=(0, 0.6 / fig.get_figheight(), 1, 1))
    plt.close(fig)  # or a notebook would show it twice
    return fig


def _section(name):
    return "Singh & Liu" if name == "S" else f"{'Section' if name.isdecimal() else 'App.'} {name}"
