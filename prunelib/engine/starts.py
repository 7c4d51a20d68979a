"""Where a Run starts: the network whose weights it trains, and the mask it trains them under.

`Starts` makes both from seeds, and from states of dense networks where a Run needs weights from
later in training. What several Runs share, a ranking or a mask, is computed once.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from prunelib import masks, networks, provenance, scores, settings
from prunelib.engine.checkpoints import State, Tensors
from prunelib.errors import BadValueError, PrunelibError
from prunelib.runs import Run

Mask = dict[str, torch.Tensor]


class Starts:
    """Initial weights and masks of Runs.

    Args:
        states: state dicts of dense networks, by dense Run and step.
        device: where networks are scored and trained, "cpu" or "cuda".
    """

    def __init__(self, states: Mapping[State, Tensors], device: str = "cpu"):
        self.states, self.device = states, device
        self.masks: dict[Run, Mask] = {}
        self.rankings: dict[Run, scores.Scores] = {}

    def start(self, run: Run) -> tuple[nn.Module, Mask]:
        """The network that a run trains, its weights in place, and its mask.

        Raises:
            PrunelibError: the state of a dense network that the run needs is not among `states`, or
                its ablation has no code.
        """
        if run.method in scores.UNSCORED:
            model = self._network(run, 0)
            return model, masks.full(model)
        mask = self._mask(run)
        match run.ablation:
            case "none" | "invert":  # what is inverted is the ranking
                return self._network(run, run.weights_from), mask
            case "shuffle":
                return self._network(run, run.weights_from), masks.shuffle(mask, run.replicate)
            case "reinit":
                network = settings.get(run.setting).network
                model = networks.build(network, run.replicate, run.init, "reinit")
                return model.to(self.device), mask
        raise PrunelibError(f"ablation {run.ablation!r} has no code: write it in engine/starts.py")

    def _mask(self, run: Run) -> Mask:
        """The mask before the ablation that shuffles it."""
        invert = run.ablation == "invert"
        key = replace(run, ablation="invert" if invert else "none", weights_from=0)
        if key not in self.masks:
            if scores.get(run.method).ranks_once:
                ranking = self._ranking(key)
                mask = masks.remove(ranking, run.sparsity, seed=run.replicate)
                if not masks.kept(mask):
                    raise BadValueError(
                        f"sparsity {run.sparsity} leaves no weight of "
                        f"{provenance.label(run.setting)}: ask for less"
                    )
                self.masks[key] = mask
            else:
                model = self._network(run, run.prune_at)
                self.masks[key] = masks.prune(
                    model,
                    run.method,
                    run.sparsity,
                    self._batch(run),
                    invert=invert,
                    seed=run.replicate,
                )
        return self.masks[key]

    def _ranking(self, run: Run) -> scores.Scores:
        """What a method ranks weights by that ranks them once for all sparsities."""
        key = replace(run, sparsity=0.0)
        if key not in self.rankings:
            model = self._network(run, run.prune_at)
            self.rankings[key] = masks.rank(
                model, run.method, self._batch(run), run.ablation == "invert", run.replicate
            )
        return self.rankings[key]

    def _batch(self, run: Run) -> scores.Data | None:
        found = scores.data(run.method, run.setting, run.replicate)
        if isinstance(found, list):
            return [(x.to(self.device), y.to(self.device)) for x, y in found]
        return found and (found[0].to(self.device), found[1].to(self.device))

    def _network(self, run: Run, step: int | str) -> nn.Module:
        """A fresh copy of the dense network at a step of its training."""
        model = networks.build(settings.get(run.setting).network, run.replicate, run.init)
        if step != 0:
            if (run.parent, step) not in self.states:
                raise PrunelibError(
                    f"the state of {run.setting}'s unpruned network, replicate {run.replicate}, at "
                    f"step {step} is not there: train it with prunelib.engine.train first"
                )
            model.load_state_dict(self.states[run.parent, step])
        return model.to(self.device)
