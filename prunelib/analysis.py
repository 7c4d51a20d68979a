"""What is read off one mask: layerwise proportions, collapse, effective and unpruned weights.

The first functions need no more than the mask, `effective` the network too; `unpruned`, `moments`
and `distances` are about the values of the weights that it keeps (Singh and Liu, 2021).
"""

import contextlib
import copy
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import nn

from prunelib import networks
from prunelib.errors import BadValueError
from prunelib.masks import Mask, check_mask, kept
from prunelib.networks import prunable

THRESHOLDS = tuple(percent / 100 for percent in range(0, 101, 5))  # of neuron collapse

Samples = Sequence[np.ndarray]  # flat ones

# Layers that cut no path, though the gradient of what is large, or all alike, may vanish in them.
_PASSED = (
    *networks.BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
    nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.RMSNorm, nn.Softmax,
    nn.LogSoftmax,
)  # fmt: skip


def layerwise(mask: Mask) -> dict[str, float]:
    """The sparsity of each layer, in order (Appendix J).

    Args:
        mask: dict from parameter name to bool tensor, True where kept.

    Returns:
        dict from name to the fraction pruned, in [0, 1].
    """
    return {name: 1 - m.sum().item() / m.numel() for name, m in mask.items()}


def neuron_collapse(mask: Mask, threshold: float = 1.0) -> float:
    """The share of neurons with at least `threshold` of their incoming weights pruned (Figure 5).

    Neurons are the output channels of convolutions; in a network without any, those of the hidden
    linear layers. Section 5 leaves open which weights are meant; by the incoming ones its numbers
    come out, by the outgoing ones they do not.

    Args:
        mask: dict from parameter name to bool tensor, True where kept, layers in order.
        threshold: in [0, 1]; 1 counts neurons that are pruned entirely.

    Returns:
        a share in [0, 1].

    Raises:
        BadValueError: another threshold, or a network without hidden neurons.
    """
    neurons = sum(len(m) for m in _neurons(mask))
    if not neurons:
        raise BadValueError("a network of one linear layer has no hidden neurons")
    return collapsed(mask, threshold) / neurons


def collapsed(mask: Mask, threshold: float = 1.0) -> int:
    """The number of neurons that `neuron_collapse` gives the share of; raises BadValueError for a
    threshold outside [0, 1]."""
    if not 0 <= threshold <= 1:
        raise BadValueError(f"threshold {threshold!r} is not in [0, 1]")
    # counts are whole numbers: the rounding of a product must not decide
    return sum(
        int(((~m).flatten(1).sum(1) >= threshold * m[0].numel() - 1e-9).sum())
        for m in _neurons(mask)
    )


def _neurons(mask):
    return [m for m in mask.values() if m.dim() == 4] or list(mask.values())[:-1]


def effective(model: nn.Module, mask: Mask, input_shape: tuple[int, ...] | None = None) -> Mask:
    """The mask without disconnected weights, those on no path from input to output (Appendix M).

    Args:
        model: the network; not changed.
        mask: dict from parameter name to bool tensor, True where kept.
        input_shape: of one input, (C, H, W); `model.input_shape` by default.

    Returns:
        a dict like `mask`, True where kept and connected.

    Raises:
        BadValueError: a mask of another network; no `input_shape`, and none that the model says.
    """
    return {name: mask[name] & on for name, on in connected(model, mask, input_shape).items()}


def connected(model: nn.Module, mask: Mask, input_shape: tuple[int, ...] | None = None) -> Mask:
    """Which weights are on a path from input to output, or would be if they were kept.

    Every kept weight becomes 1, every pruned one 0; an input of ones goes forward, the sum of the
    logits backward; weights with zero gradient are disconnected. In float64, without biases, other
    parameters by their absolute values.
    Batch norm, other norms and activations that saturate are passed over. What the forward pass
    calls as a function cannot be, and must be no more than a ReLU.

    Args:
        model, mask, input_shape: as for `effective`.

    Returns:
        a dict like `mask`, True where all of a path is kept but for the weight itself.

    Raises:
        BadValueError: as `effective` does.
    """
    check_mask(model, mask)
    work = copy.deepcopy(model).double().eval()
    for name, module in list(work.named_modules()):
        if isinstance(module, _PASSED):
            work.set_submodule(name, nn.Identity())
    for name, p in work.named_parameters():
        if name in mask:
            p.data = mask[name].to(p)
        elif name.endswith("bias"):
            p.data.zero_()
        else:  # as of an embedding: no sum of them may cancel
            p.data.abs_()
    names = prunable(work)
    shape = input_shape or networks.input_shape(model)
    ones = torch.ones(1, *shape, dtype=torch.float64, device=work.get_parameter(names[0]).device)
    with torch.enable_grad():
        total = work(ones).sum()
        grads = torch.autograd.grad(total, [work.get_parameter(name) for name in names])
    return {name: g != 0 for name, g in zip(names, grads, strict=True)}


def read(model: nn.Module, mask: Mask) -> dict[str, int | tuple[int, ...]]:
    """What is recorded of a mask (Figures 5, 15 and 16).

    Args:
        model: the network; its weights do not matter.
        mask: dict from parameter name to bool tensor, True where kept.

    Returns:
        dict: kept and effective weights, the kept weights of each layer in order, and the neurons
        with at least each of `THRESHOLDS` of their incoming weights pruned.
    """
    return {
        "kept_weights": kept(mask),
        "effective_weights": kept(effective(model, mask)),
        "layers": tuple(int(m.sum()) for m in mask.values()),
        "collapse": tuple(collapsed(mask, threshold) for threshold in THRESHOLDS),
    }


def unpruned(weights: dict[str, torch.Tensor], mask: Mask) -> list[np.ndarray]:
    """The unpruned weights, first of all layers together, then of each.

    Args:
        weights, mask: dicts from parameter name to tensor, the mask True where kept.

    Returns:
        a list of flat float64 arrays, one longer than there are layers.
    """
    layers = [weights[name].detach()[m].double().cpu().numpy() for name, m in mask.items()]
    return [np.concatenate(layers), *layers]


def moments(samples: Samples) -> dict[str, list[float]]:
    """Mean, standard deviation and excess kurtosis of each sample (a normal one has kurtosis 0).

    Returns:
        dict from name to a list; NaN where a sample is too small.
    """
    with _quiet():
        return {
            "mean": [float(x.mean()) if len(x) else math.nan for x in samples],
            "std": [float(x.std(ddof=1)) if len(x) > 1 else math.nan for x in samples],
            "kurtosis": [float(stats.kurtosis(x)) if len(x) > 3 else math.nan for x in samples],
        }


def distances(samples: Samples, others: Samples) -> dict[str, list[float]]:
    """How far distributions are apart (Singh and Liu, 2021).

    Returns:
        dict: "wasserstein", the mean distance that mass has to be moved, in units of the weights;
        "ks", the Kolmogorov-Smirnov statistic, in [0, 1]; NaN where a sample is empty.
    """

    def each(distance):
        pairs = zip(samples, others, strict=True)
        return [float(distance(x, y)) if len(x) and len(y) else math.nan for x, y in pairs]

    with _quiet():
        return {
            "wasserstein": each(stats.wasserstein_distance),
            # its p-value is not used; "asymp" is the one that takes no time
            "ks": each(lambda x, y: stats.ks_2samp(x, y, method="asymp").statistic),
        }


@contextlib.contextmanager
def _quiet():
    """No warnings of samples without any spread, or of one weight: what they give is NaN, or
    exact."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
