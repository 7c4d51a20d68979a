"""Masks themselves, of one small layer: as a picture, or below a slider of the sparsity."""

import base64
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import nn

from prunelib import masks, scores
from prunelib.errors import check_name
from prunelib.methods import Data
from prunelib.networks import prunable
from prunelib.pages import style
from prunelib.pages.axes import GREY, WIDTH, panels

_SMALL = range(500, 2501)  # weights of a layer whose mask can be seen weight by weight
_MASK = ("#eceff1", "#022667")  # of pruned and of kept weights


class Layer:
    """The masks of one small layer, the first of 500 to 2,500 weights or else the smallest, under
    each of several methods and at each of several sparsities of the whole network.

    Args:
        model: the network; not changed.
        methods: names. sparsities: of the network, in [0, 1), ascending.
        batch: as `masks.prune` takes it; without one, methods that need data are left out.

    Attributes:
        name: what the paper calls the layer.
        masks: dict from (method, sparsity) to the mask of the whole network, as of `masks.prune`.
        kept: dict from method to bool tensor [sparsities, outputs, incoming weights], the masks of
            the layer, True where kept.
    """

    def __init__(
        self,
        model: nn.Module,
        methods: Iterable[str],
        sparsities: Sequence[float],
        batch: Data | None = None,
    ):
        names = prunable(model)
        sizes = {name: model.get_parameter(name).numel() for name in names}
        chosen = next((n for n in names if sizes[n] in _SMALL), min(names, key=sizes.get))
        called = style.layers([name.removesuffix(".weight") for name in names])[names.index(chosen)]
        self.name, self.sparsities = ", ".join(filter(None, called)), list(sparsities)
        kernel = model.get_parameter(chosen)[0, 0].numel()
        columns = model.get_parameter(chosen)[0].numel()
        self.edges = range(kernel, columns, kernel) if kernel > 1 else ()  # of input channels
        there = [m for m in methods if batch is not None or not scores.get(m).needs_data]
        self.masks = {
            (method, sparsity): mask
            for method in there
            for sparsity, mask in _masks(model, method, self.sparsities, batch)
        }
        self.kept = {
            method: torch.stack([self.masks[method, s][chosen].flatten(1) for s in self.sparsities])
            for method in there
        }

    def draw(self, method: str, sparsity: float) -> Figure | None:
        """The mask as a matrix, a row an output; None, which is then printed, where it is left out.

        Args:
            method, sparsity: of those given; raises UnknownNameError for another sparsity.
        """
        check_name("sparsity", sparsity, self.sparsities)
        label = style.method(method).label
        if method not in self.kept:
            print(f"{label} needs a scoring batch, which is not there: not drawn")
            return None
        kept = self.kept[method][self.sparsities.index(sparsity)]
        left = f"{int(kept.sum()):,} of {kept.numel():,} weights"
        title = f"{label}: density {100 * kept.double().mean():.1f} %, {left}\n"
        title += f"The layer: {self.name}, a row an output; "
        title += f"the network: {100 * sparsity:.1f} % sparsity"
        with panels(title, (WIDTH, min(1.3 + 0.09 * len(kept), 5.0))) as (fig, ((axis,),)):
            look = {"cmap": ListedColormap(_MASK), "vmin": 0, "vmax": 1, "edgecolors": "white"}
            axis.pcolormesh(kept.numpy(), linewidth=0.4 if kept.numel() in _SMALL else 0, **look)
            for edge in self.edges:
                axis.axvline(edge, color=GREY, linewidth=1)
            axis.invert_yaxis()
            axis.set_axis_off()
        return fig

    def slider(self, sparsity: float) -> HTML:
        """All masks below a slider of the sparsity, which needs scripts, but no kernel.

        Args:
            sparsity: one of those given, which is shown at first, without scripts too.
        """
        first = self.sparsities.index(sparsity)
        drawn = [
            {
                "label": style.method(method).label,
                "bits": base64.b64encode(np.packbits(kept.numpy())).decode(),
                "shares": [f"{100 * frame.double().mean():.1f}" for frame in kept],
                "path": "".join(f"M{x} {y}h1v1h-1z" for y, x in kept[first].nonzero().tolist()),
            }
            for method, kept in self.kept.items()
        ]
        rows, columns = next(iter(self.kept.values()))[0].shape
        percents = [f"{100 * s:.1f}" for s in self.sparsities]
        about = {"rows": rows, "columns": columns, "layer": self.name, "colours": _MASK}
        about["edges"] = "".join(f"M{x} 0v{rows}" for x in self.edges)
        page = style.TEMPLATES.get_template("slider.html")
        return HTML(page.render(masks=drawn, percents=percents, first=first, **about))


def _masks(model, method, sparsities, batch):
    """Sparsities and masks as of `masks.prune`; where one ranking gives all, it is made once."""
    ranking = masks.rank(model, method, batch) if scores.get(method).ranks_once else None
    for sparsity in sparsities:
        if ranking is not None:
            yield sparsity, masks.remove(ranking, sparsity)
        else:
            yield sparsity, masks.prune(model, method, sparsity, batch)
