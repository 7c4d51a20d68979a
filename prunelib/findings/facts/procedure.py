"""Facts about data, schedules and the procedure of pruning."""

import bisect
import copy
import functools
import itertools
import math

import torch
from torch import nn

from prunelib import analysis, datasets, masks, scores, settings
from prunelib.datasets import augment
from prunelib.errors import BadValueError
from prunelib.findings.facts.architectures import classes, drawn
from prunelib.findings.facts.table import FACTS, fact
from prunelib.runs import EARLY_METHODS

# How this project augments the datasets (Appendix A.2), so that no file is needed.
AUGMENTATION = {
    "mnist": "none", "cifar10": "crop", "tinyimagenet": "resized_crop",
    "modified_tinyimagenet": "crop", "imagenet": "resized_crop", "digits": "none",
    "shifted_digits": "shift",
}  # fmt: skip
DRAWS, SIDE = 20_000, 2048  # of augmentation; a side in pixels at which rounding is nothing


# Data and schedules (Section 3, Appendices A.2, A.3, B.2, B.4, C.2, C.4 and D.4)


@fact
def scored_examples(setting: str) -> float:
    """B.2, C.2: "ten examples selected randomly from each class"; on ImageNet "10,000"."""
    return datasets.PER_CLASS * classes(setting)


@functools.cache
def _augmented(setting):
    kind = AUGMENTATION[settings.get(setting).dataset]
    if kind == "none":
        raise BadValueError(f"the data of {setting} is not augmented")
    return kind, augment.draw(DRAWS, kind, SIDE, SIDE, 0, 0)


def _patches(setting):
    kind, draws = _augmented(setting)
    if draws.box is None:
        raise BadValueError(f"the images of {setting} are augmented by {kind!r}, not by patches")
    return draws.box[:, 2].double(), draws.box[:, 3].double()


@fact
def largest_shift(setting: str) -> float:
    """A.2: "randomly shifting by up to four pixels in any direction"; NaN if one has fewer."""
    kind, draws = _augmented(setting)
    if draws.shift is None:
        raise BadValueError(f"the images of {setting} are augmented by {kind!r}, not by shifts")
    moved = draws.shift - augment.PADDING[kind]
    far = {*(-moved.min(0).values).tolist(), *moved.max(0).values.tolist()}
    return float(far.pop()) if len(far) == 1 else math.nan


@fact
def share_of_mirrored_images(setting: str) -> float:
    """A.2: "randomly flipping horizontally"; in percent."""
    flip = _augmented(setting)[1].flip
    return 0.0 if flip is None else 100 * float(flip.double().mean())


@fact
def narrowest_patch(setting: str) -> float:
    """A.2: "a random aspect ratio between 0.8 and 1.25"; the lowest of 20,000."""
    height, width = _patches(setting)
    return float((width / height).min())


@fact
def widest_patch(setting: str) -> float:
    """A.2: "a random aspect ratio between 0.8 and 1.25"; the highest of 20,000."""
    height, width = _patches(setting)
    return float((width / height).max())


@fact
def smallest_patch(setting: str) -> float:
    """A.2: "a random scale between 0.1 and 1"; the lowest share of the image of 20,000."""
    height, width = _patches(setting)
    return float((height * width).min()) / SIDE**2


@fact
def largest_patch(setting: str) -> float:
    """A.2: "a random scale between 0.1 and 1"; the highest share of the image of 20,000."""
    height, width = _patches(setting)
    return float((height * width).max()) / SIDE**2


def _passes(setting, steps):
    """How often that many iterations pass over the training images."""
    batch = settings.schedule(setting, "paper").batch_size
    return steps * batch / datasets.SIZES[settings.get(setting).dataset][0]


@fact
def batches_in_an_epoch(setting: str) -> float:
    """A.3, "Iters per Ep": training images over the batch size, a fraction for a short batch."""
    return 1 / _passes(setting, 1)


@fact
def passes_over_the_data(setting: str) -> float:
    """A.3, "Epochs": how often the iterations of the schedule see the training images."""
    return _passes(setting, settings.schedule(setting, "paper").iterations)


@fact
def passes_before_the_first_drop(setting: str) -> float:
    """A.3, "LR Drop": "10x at epochs 80, 120"; after the warm-up, that the table leaves out."""
    plan = settings.schedule(setting, "paper")
    highest = plan.learning_rate_at(math.ceil(plan.warmup))
    after = range(math.ceil(plan.warmup), plan.iterations)
    drop = bisect.bisect_left(after, True, key=lambda k: plan.learning_rate_at(k) < highest)
    return _passes(setting, after.start + drop)


@fact
def passes_before_the_last_drop(setting: str) -> float:
    """A.3, "LR Drop": "10x at epochs 80, 120", of which this is the last."""
    plan = settings.schedule(setting, "paper")
    last = plan.learning_rate_at(plan.iterations - 1)
    steps = range(math.ceil(plan.warmup), plan.iterations)
    drop = bisect.bisect_left(steps, True, key=lambda k: plan.learning_rate_at(k) == last)
    return _passes(setting, steps.start + drop)


@fact
def highest_learning_rate_over_the_last(setting: str) -> float:
    """A.3, "LR Drop": a factor of ten each time."""
    plan = settings.schedule(setting, "paper")
    last = plan.learning_rate_at(plan.iterations - 1)
    return plan.learning_rate_at(math.ceil(plan.warmup)) / last


@fact
def unevenness_of_figure_7(setting):
    """D.4: "at intervals of an additional 50% sparsity"; how far, as a share, the density falls
    other than to the half."""
    left = [1 - s for s in [0.0, *settings.halvings("paper")]]
    return max(abs(b / a / 0.5 - 1) for a, b in itertools.pairwise(left))


@fact
def highest_sparsity_of_figure_7(setting):
    """D.4: "sparsities between 0% and 99.9%"; in percent."""
    return 100 * settings.halvings("paper")[-1]


# The procedure of pruning (Section 3)


def _small() -> nn.Module:
    """A network of twenty weights that counts its forward passes in `passes`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model.input_shape, passes = (3,), []
    model.passes = passes
    model.register_forward_hook(lambda *_: passes.append(1))
    return model


def _rounds(method, setting):
    """Section 3: one shot, or SynFlow's "100 iterations": the forward passes of scoring."""
    model = _small()
    masks.prune(model, method, 0.5, (torch.ones(2, 3), torch.tensor([0, 1])))
    return float(len(model.passes))


@fact
def early_methods_without_data(setting: str) -> float:
    """Section 7: "SynFlow and magnitude pruning" do "without using any training data"."""
    count = 0
    for method in EARLY_METHODS:
        try:
            scores.score(_small(), method)
        except BadValueError:
            continue
        count += 1
    return float(count)


@fact
def weights_off_the_sparsity(setting: str) -> float:
    """Section 3: masks "with overall sparsity s"; by how many weights they miss it at most."""
    z = scores.score(drawn(setting), "random")
    total = sum(layer.numel() for layer in z.values())
    levels = settings.sparsities(setting, "paper")[::6]
    return max(abs(total - masks.kept(masks.remove(z, s)) - s * total) for s in levels)


@fact
def rise_by_the_printed_formula(setting: str) -> float:
    """Section 3: "from sparsity s^((n-1)/N) to s^(n/N)"; the largest rise of the 100 iterations,
    in percentage points."""
    s = settings.highest_matching(setting)
    return 100 * max(s ** (n / 100) - s ** ((n - 1) / 100) for n in range(1, 101))


@fact
def unevenness_of_iterations(setting: str, rounds: int = 10) -> float:
    """Section 3, read of densities: how far, as a share, the factor by which one of N iterations
    lowers the density is from d^(1/N) at most. SynFlow's passes show what each has left."""
    model, sparsity = copy.deepcopy(drawn(setting)), settings.sparsity(12)
    layers, left = nn.Conv2d | nn.Linear, []

    def look(module, *_):
        weights = [m.weight for m in module.modules() if isinstance(m, layers)]
        left.append(sum(int(w.count_nonzero()) for w in weights))

    model.register_forward_hook(look)
    left.append(masks.kept(masks.prune(model, "synflow", sparsity, iterations=rounds)))
    factor = (1 - sparsity) ** (1 / rounds)
    return max(abs(b / a / factor - 1) for a, b in itertools.pairwise(left))


@fact
def random_layers_beyond_chance(setting: str) -> float:
    """Section 3: random pruning "prunes each layer to approximately sparsity s"; how many
    standard deviations of a draw without replacement a layer is off at most."""
    z, worst = scores.score(drawn(setting), "random"), 0.0
    total = sum(layer.numel() for layer in z.values())
    for s in settings.sparsities(setting, "paper")[2::3]:
        for name, found in analysis.layerwise(masks.remove(z, s)).items():
            n = z[name].numel()
            chance = math.sqrt(s * (1 - s) / n * (total - n) / (total - 1))
            worst = max(worst, abs(found - s) / chance)
    return worst


FACTS |= {
    f"rounds of {method}": functools.partial(_rounds, method)
    for method in (*EARLY_METHODS, "random", "iterative_snip")
}
