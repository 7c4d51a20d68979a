"""The explorer: accuracy, layerwise proportions and neuron collapse of what was recorded, to choose
from. Three charts in the grammar of Vega-Lite, which JupyterLab draws by itself and without a
kernel, as `explore` shows them; the site draws the same charts below controls of its own."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from prunelib import grids, settings
from prunelib.findings import curves, statistics
from prunelib.findings.measures import Results
from prunelib.pages import style
from prunelib.pages.axes import WINDOW
from prunelib.results.records import MASK, TRAINED
from prunelib.runs import AFTER, DENSE, EARLY_METHODS, REWOUND, Curve

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"  # a name: nothing is fetched from it
MIME = "application/vnd.vegalite.v5+json"
_EARLY = ("magnitude", "snip", "iterative_snip", "grasp", "grasp_magnitude", "synflow", "random")
LINES = {
    "magnitude after training": AFTER,
    "lottery ticket rewinding": REWOUND,
    "gradual": Curve("gradual"),
    **{method: Curve(method) for method in _EARLY},
}
SHOWN = ("magnitude after training", *EARLY_METHODS, "random")  # at first, as in Figure 3
_DASHES = {"-": [1, 0], "--": [6, 3], "-.": [6, 2, 1, 2], ":": [1, 2]}
_MARKERS = {"o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down"}
_MARKERS |= {"D": "diamond", "P": "cross", "X": "stroke"}


def _percent(sparsity):
    return f"{100 * sparsity:.1f}"


def accuracies(results: Results, setting: str, profile: str) -> list[dict[str, Any]]:
    """Test accuracy of everything that was trained of `LINES`, under each ablation.

    Returns:
        a dict a point: method and ablation (names for people), sparsity as the paper prints it,
        accuracy, low and high (one standard deviation to either side) in percent, n. The unpruned
        network has the sparsity "0.0", and is there under each of its initialisations.
    """
    table = results.table(TRAINED, setting, profile)
    rows = []
    for name, curve in {"Unpruned": DENSE, **LINES}.items():
        label = style.method(name).label
        for ablation, look in style.VARIANTS.items():
            change = {"init": ablation} if ablation == "fixed_variance" else {"ablation": ablation}
            found = statistics.over_replicates(table, replace(curve, **change).at(setting, profile))
            for sparsity, point in found.fillna(0).iterrows():
                mean, std = 100 * point["mean"], 100 * point["std"]
                values = (mean, max(mean - std, 0.0), min(mean + std, 100.0))
                values = {k: round(v, 2) for k, v in zip(_ACCURACY, values, strict=True)}
                about = {"method": label, "ablation": look.label, "sparsity": _percent(sparsity)}
                rows.append(about | values | {"n": int(point["n"])})
    return rows


_ACCURACY = ("accuracy", "low", "high")


def read_off(results: Results, setting: str) -> list[dict[str, Any]]:
    """What masks leave, of every method, ablation and sparsity of which masks were read.

    Returns:
        a dict a mask: method, ablation, sparsity as in `accuracies`; layers: the sparsity of each
        in percent, from input to output; collapse: the share of neurons with at least 0, 5, … 100 %
        of their weights pruned, in percent, empty where it was not read. Means over replicates.
    """
    table = results.table(MASK, setting, "paper")
    rows = []
    for sparsity in sorted(set(table["sparsity"])):
        layers = curves.layer_data(table, setting, sparsity).groupby("method")["sparsity"]
        collapse = curves.collapse_data(table, sparsity).groupby(["method", "ablation"])["share"]
        pruned = {name: values.round(1).tolist() for name, values in layers}
        shares = {name: values.round(1).tolist() for name, values in collapse}
        for method, proportions in pruned.items():
            # None of these moves a weight to another layer, and new weights leave the mask alone.
            for ablation in ("none", "shuffle", "reinit"):
                neurons = shares.get((method, "none" if ablation == "reinit" else ablation), [])
                about = (style.method(method).label, style.VARIANTS[ablation].label)
                about = dict(zip(("method", "ablation"), about, strict=True))
                about["sparsity"] = _percent(sparsity)
                rows.append(about | {"layers": proportions, "collapse": neurons})
    return rows


def layer_names(setting: str) -> list[str]:
    """What the layers of a setting's network are called, from input to output."""
    return style.layer_labels(list(curves.layers_of(setting)))


def price(setting: str, profile: str) -> str:
    """What Figures 3 and 4 of a setting would take, in words."""
    runs = {r for f in (3, 4) for r in grids.figure_runs(f, setting, profile)}
    cost = grids.cost(setting, profile, len(runs))
    return f"Figures 3 and 4 take {len(runs):,} trained networks, {cost:,.3g} PFLOP"


def about(results: Results, setting: str, profile: str) -> dict[str, Any]:
    """All that the charts show of a setting and profile, as JSON can hold it."""
    trained = results.table(TRAINED, setting, profile)
    levels = settings.sparsities(setting, "paper")
    data = sorted(set(trained["dataset"]) | set(results.table(MASK, setting, "paper")["dataset"]))
    return {
        "setting": setting,
        "profile": profile,
        "title": style.title(setting),
        "data": [style.dataset(name.split("@")[0]) for name in data if name != "none"],
        "sparsities": [_percent(s) for s in levels],
        "names": layer_names(setting),
        "accuracy": accuracies(results, setting, profile),
        "masks": read_off(results, setting),
        "price": price(setting, profile),
        "lowest": lowest(results, setting, profile),
    }


def lowest(results: Results, setting: str, profile: str) -> float:
    """The accuracy in percent at which an enlarged chart begins: a window below the unpruned
    network's, as in the figures; 0 where that was not trained."""
    dense = statistics.over_replicates(results.table(TRAINED, setting, profile), DENSE)
    return max(0.0, float(round(100 * dense["mean"].max() - WINDOW[1]))) if len(dense) else 0.0


def everything(results: Results) -> dict[str, Any]:
    """The data of the site's explorer: each setting of the paper's figures, run or not."""
    wanted = [(s.name, "paper") for s in settings.SETTINGS.values() if s.name in _settings()]
    wanted += [pair for pair in results.pairs() if pair not in wanted]
    order = list(settings.SETTINGS)
    wanted.sort(key=lambda pair: (not pair[0].endswith("digits"), order.index(pair[0]), pair[1]))
    return {
        "settings": [about(results, *pair) for pair in wanted],
        "methods": [style.METHODS[name].label for name in LINES],
        "shown": [style.METHODS[name].label for name in SHOWN],
        "ablations": [look.label for look in style.VARIANTS.values()],
        "charts": charts(),
    }


def _settings():
    return {name for grid in grids.FIGURES.values() for name in grid.paper}


def _scale(kind: str) -> dict[str, Any]:
    looks = [style.METHODS[name] for name in LINES]
    ranges = {
        "color": [look.colour for look in looks],
        "strokeDash": [
            _DASHES[look.dash] if isinstance(look.dash, str) else list(look.dash[1])
            for look in looks
        ],
        "shape": [_MARKERS[look.marker] for look in looks],
    }
    return {"domain": [look.label for look in looks], "range": ranges[kind]}


def _looks():
    kinds = ("color", "strokeDash", "shape")
    return {
        kind: {"field": "method", "title": None, "legend": None, "scale": _scale(kind)}
        for kind in kinds
    }


def _chart(name: str, title: str, x: dict, y: dict, transform: Iterable[dict], tooltip: Iterable):
    chosen = "indexof(methods, datum.method) >= 0 && datum.ablation === ablation"
    y = {"type": "quantitative", **y}
    return {
        "title": {"text": title, "anchor": "start"},
        "data": {"name": name},
        "transform": [{"filter": chosen}, *transform],
        "mark": {"type": "line", "point": {"size": 45}, "clip": True},
        "encoding": {"x": x, "y": y, **_looks(), "tooltip": list(tooltip)},
    }


def charts() -> dict[str, dict[str, Any]]:
    """The three charts, without their data; `methods` (a list), `ablation` and `sparsity` choose,
    and `lowest` is the accuracy at which the first begins.

    Returns:
        accuracy (data "accuracy": as `accuracies`), layers and collapse (data "masks": as
        `read_off`, with the names of layers as `names`).
    """
    at = {"filter": "datum.sparsity === sparsity"}
    which = [{"field": "method"}, {"field": "ablation"}]
    sparsity = {"field": "sparsity", "type": "ordinal", "sort": None, "title": "Sparsity (%)"}
    scale = {"zero": False, "domainMin": {"expr": "lowest"}}
    axis = {"field": "accuracy", "title": "Test accuracy (%)", "scale": scale}
    tooltip = [*which, *({"field": f} for f in ("sparsity", "accuracy", "low", "high", "n"))]
    accuracy = _chart("accuracy", "Accuracy", sparsity, axis, [], tooltip)
    lines, filters = {k: accuracy.pop(k) for k in ("mark", "encoding")}, accuracy.pop("transform")
    both = {"x": sparsity, "y": {**lines["encoding"]["y"], "field": "low"}, "y2": {"field": "high"}}
    band = {
        "transform": filters,
        "mark": {"type": "area", "opacity": 0.15, "clip": True},
        "encoding": {**both, "color": lines["encoding"]["color"]},
    }
    unpruned = {
        "transform": [{"filter": "datum.method === 'Unpruned'"}, {"filter": "datum.shown"}],
        "mark": {"type": "rule", "strokeWidth": 1.5},
        "encoding": {"y": lines["encoding"]["y"], "tooltip": tooltip},
    }
    here = {
        "data": {"name": "here", "values": [{}]},
        "transform": [{"calculate": "sparsity", "as": "sparsity"}],
        "mark": {"type": "rule", "strokeDash": [2, 2], "color": "#666666"},
        "encoding": {"x": sparsity},
    }
    accuracy["layer"] = [band, {"transform": filters, **lines}, unpruned, here]

    layers = _chart(
        "masks", "Layers: weights pruned",
        {"field": "names", "type": "ordinal", "sort": None, "title": None},
        {"field": "layers", "title": "Sparsity of the layer (%)", "scale": {"domain": [0, 100]}},
        [at, {"flatten": ["names", "layers"]}], [*which, {"field": "names"}, {"field": "layers"}],
    )  # fmt: skip
    rest = [
        {"filter": "length(datum.collapse) > 0"},
        {"calculate": "sequence(0, 101, 5)", "as": "threshold"},
        {"flatten": ["threshold", "collapse"]},
    ]
    collapse = _chart(
        "masks", "Neurons by the share of their weights pruned",
        {"field": "threshold", "type": "quantitative", "title": "Weights pruned, at least (%)",
         "scale": {"domain": [0, 100]}},
        {"field": "collapse", "title": "Neurons (%)", "scale": {"domain": [0, 100]}},
        [at, *rest], [*which, {"field": "threshold"}, {"field": "collapse"}],
    )  # fmt: skip
    return {"accuracy": accuracy, "layers": layers, "collapse": collapse}


class Explorer:
    """Charts with controls for JupyterLab, which needs no kernel to answer; elsewhere accuracies in
    words.

    Args:
        spec: in the grammar of Vega-Lite 5. words: what it shows. listed: the accuracies, Markdown.
    """

    def __init__(self, spec: dict[str, Any], words: str, listed: str):
        self.spec, self.words, self.listed = spec, words, listed

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {MIME: self.spec, "text/markdown": self.listed, "text/plain": self.words}


def _listed(found, sparsity):
    """What the explorer says where it cannot be drawn: the accuracies at one sparsity."""
    head = (
        f"**{found['title']}, profile {found['profile']}.** JupyterLab has charts here, to choose "
    )
    head += "from, as has the site's page *Explorer*. "
    lines = {}
    for row in found["accuracy"]:
        if row["sparsity"] == sparsity:
            said = f"{row['ablation'].lower()} {row['accuracy']:.1f}"
            lines.setdefault(row["method"], []).append(said)
    if not lines:
        return f"{head}Nothing was trained of it at {sparsity} % sparsity: {found['price']}."
    head += f"Test accuracy at {sparsity} % sparsity, in percent, means over replicates:\n"
    return "\n".join([head, *(f"- {name}: {', '.join(said)}" for name, said in lines.items())])


def explore(setting: str, profile: str = "paper", results: Results | None = None) -> Explorer:
    """The explorer of one setting, for a notebook: choose ablation and sparsity below it, and
    methods by a click on the legend.

    Raises:
        UnknownNameError: for a setting or profile that there is not.
    """
    settings.get(setting)
    settings.get_profile(profile)
    found = about(results or Results(), setting, profile)
    labels = [style.METHODS[name].label for name in LINES]
    there = {row["method"] for row in found["accuracy"]}
    absent = [label for label in labels if label not in there]
    words = f"{found['title']}, profile {profile}"
    words += f"; not trained: {', '.join(absent)}" if absent else ""
    ablations, sparsities = [look.label for look in style.VARIANTS.values()], found["sparsities"]
    middle = sparsities[len(sparsities) // 2]
    faded = {"condition": {"param": "picked", "value": 1}, "value": 0.06}
    picked = {"name": "picked", "select": {"type": "point", "fields": ["method"]}, "bind": "legend"}
    views = charts()
    line = views["accuracy"]["layer"][1]
    line["params"] = [picked]
    line["encoding"]["color"]["legend"] = {"columns": 1, "symbolLimit": 0, "symbolOpacity": 1}
    for view in (line, views["layers"], views["collapse"]):
        view["encoding"]["opacity"] = faded
    names = {"calculate": json.dumps(found["names"]), "as": "names"}
    views["layers"]["transform"].insert(0, names)  # once, not in each of hundreds of rows
    accuracy = [row | {"shown": row["ablation"] == ablations[0]} for row in found["accuracy"]]
    for view in views.values():
        view |= {"width": 640, "height": 260}
        view["data"]["format"] = {"type": "json"}
    spec = {
        "$schema": SCHEMA,
        "title": {"text": words, "anchor": "start"},
        "params": [
            {"name": "methods", "value": labels},
            {"name": "ablation", "value": ablations[0],
             "bind": {"input": "select", "options": ablations}},
            {"name": "sparsity", "value": middle,
             "bind": {"input": "select", "options": sparsities}},
            {"name": "lowest", "value": found["lowest"],
             "bind": {"input": "range", "min": 0, "max": 99, "step": 1}},
        ],
        # As texts: an executed notebook gives every number of a list a line of its own.
        "datasets": {"accuracy": json.dumps(accuracy), "masks": json.dumps(found["masks"])},
        "vconcat": list(views.values()),
    }  # fmt: skip
    return Explorer(spec, f"Explorer of {words}.", _listed(found, middle))
