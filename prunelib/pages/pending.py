import pandas as pd

from prunelib import settings
from prunelib.findings import statistics
from prunelib.grids import FIGURES
from prunelib.pages import style
from prunelib.runs import DENSE


def accuracy_data(figure, table, setting, profile, replicates=None):
    rows = []
    for panel, curves in FIGURES[figure].panels.items():
        for curve in (DENSE, *curves):
            name = "Unpruned" if curve == DENSE else style.look(figure, curve).label
            for s, row in statistics.over_replicates(table, curve.at(setting, profile)).iterrows():
                mean, std = 100 * row["mean"], 100 * row["std"]
                rows.append(
                    (panel, name, round(100 * s, 1), 100 * (1 - s), mean, std, int(row["n"]))
                )
    columns = ["panel", "line", "sparsity", "remaining", "accuracy", "std", "n"]
    return pd.DataFrame(rows, columns=columns)


def variant(setting, table):
    own = settings.get(setting).dataset.removeprefix("modified_")
    others = sorted({name.split("@")[0] for name in table["dataset"]} - {own, "none"})
    return f" on {', '.join(others)}" if others else ""
