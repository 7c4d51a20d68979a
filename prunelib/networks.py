"""Networks: how they begin, and which of their weights can be pruned.

`build` makes one of `NETWORKS`, initialised (Appendix A.3); `register` adds one's own to them.
`prunable` says which weights can be pruned, `flops` what training costs.
"""

import copy
import functools
import math
import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from prunelib import provenance
from prunelib.architectures import NETWORKS
from prunelib.errors import BadValueError, UnknownNameError, check_name
from prunelib.seeds import restored
from prunelib.seeds import seed as derive_seed

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_UNPRUNED = (
    nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.RNNBase,
    nn.RNNCellBase, nn.MultiheadAttention,
)  # fmt: skip


def register(name: str, input_shape: tuple[int, ...]) -> Callable[[Callable], Callable]:
    """Decorator that makes a constructor of a network of one's own usable in a setting::

        @networks.register("my_net", input_shape=(1, 8, 8))
        def my_net():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    Two-dimensional convolutions and linear layers are pruned, and initialised, with batch norm, as
    `build` says; other layers begin as their constructors leave them. Each of them is a module with
    a weight of its own, and they are registered in the order in which the forward pass calls them.
    Inputs [n, *input_shape] become logits [n, classes]. The forward pass draws nothing: no dropout.

    Args:
        name: letters, digits and "_", no digit first.
        input_shape: of one input, without the batch.

    Raises:
        BadValueError: a name that is taken or cannot be recorded, or another shape.
    """
    provenance.check_new("network", name, NETWORKS)
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if not shape or any(type(size) is not int or size < 1 for size in shape):
        raise BadValueError(
            f"network {name!r}, input_shape={input_shape!r}: give positive whole numbers, as "
            "(3, 32, 32)"
        )

    def decorate(constructor: Callable) -> Callable:
        key = provenance.record("network", name, constructor, shape)
        NETWORKS[key] = (functools.partial(_construct, key, shape, constructor), shape)
        return constructor

    return decorate


def _construct(key, shape, constructor):
    """A network of a user's own, if it is what methods and masks take a network for."""
    said = f"network {provenance.label(key)!r}"
    with provenance.running(said):
        model = copy.deepcopy(constructor())  # it may give the same one each time
    if not isinstance(model, nn.Module):
        raise BadValueError(f"{said} is {type(model).__name__}, expected a torch.nn.Module")
    if other := [m for m in model.modules() if isinstance(m, _UNPRUNED)]:
        raise BadValueError(
            f"{said} has a {type(other[0]).__name__}, whose weights no method would prune: write "
            "it as layers of type Conv2d or Linear, or do without"
        )
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise BadValueError(f"{said} has a lazy layer: give it the size of its input")
    names = prunable(model)
    if not names:
        raise BadValueError(f"{said} has no convolution or linear layer that could be pruned")
    called, _ = _passed(model, shape, said)
    if unused := [name for name in names if name not in called]:
        raise BadValueError(f"{said} has {unused[0]!r}, whose layer the forward pass never calls")
    if list(called) != names:
        raise BadValueError(
            f"{said} registers its layers in another order than it calls them, which methods go "
            f"by: {', '.join(names)}; called {', '.join(called)}"
        )
    if _draws(model, shape, said):
        raise BadValueError(
            f"{said} draws when it is trained, as dropout does, so that no result could be "
            "repeated: leave the layer out, or set its rate to 0"
        )
    return model


def _draws(model, shape, said):
    """Whether a forward pass in training mode takes numbers from the global generators of torch,
    NumPy or Python."""
    work = copy.deepcopy(model).train()
    with provenance.running(said), torch.no_grad(), restored():
        before = _generators()
        work(torch.zeros(2, *shape))
        return _generators() != before


def _generators():
    """Where the three generators are, to be compared."""
    kind, numbers, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), (kind, numbers.tolist(), *rest)


def _passed(model, shape, said):
    """What one input meets: by prunable weight, in the order of the calls, the multiplications of
    its layer; and the logits."""
    work, met = copy.deepcopy(model).eval(), {}

    def count(name, layer, _inputs, output):
        met[name] = met.get(name, 0) + output.numel() * layer.weight[0].numel()

    for name in prunable(work):
        layer = work.get_submodule(name.removesuffix("weight").removesuffix("."))
        layer.register_forward_hook(functools.partial(count, name))
    device = next(work.parameters()).device
    with (
        provenance.running(f"{said}, on inputs of shape {shape},"),
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
    ):
        logits = work(torch.zeros(1, *shape, device=device))
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or len(logits) != 1:
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise BadValueError(f"{said} makes {found} of one input, expected logits [1, classes]")
    return met, logits


def find(name: str) -> str:
    """The name of `NETWORKS` that a name means: itself, or the newest of that plain name.

    Raises:
        UnknownNameError: there is none; the sentence lists the names.
    """
    key = provenance.resolve("network", name, NETWORKS)
    if key not in NETWORKS:
        raise UnknownNameError("network", name, provenance.labels(NETWORKS))
    return key


INITS = ("he", "fixed_variance")
DEVIATION = 0.1  # of the weights, with init "fixed_variance" and batch norm


def build(network: str, seed: int = 0, init: str = "he", stream: str = "weights") -> nn.Module:
    """A freshly initialised network, on the CPU; `model.network` is its name, `model.input_shape`
    the shape of one input, `model.memory_format` how images lie in memory while it computes.

    He initialisation (Appendix A.3, "Kaiming normal"): fan-in, gain sqrt 2, on every convolution
    and linear layer; biases keep PyTorch's default; batch norm has gamma uniform in [0, 1]
    (Appendix D.4) and beta 0.

    Fixed-variance initialisation (Section 5): every weight from one normal distribution, whatever
    its layer. The paper says variance 1, the authors' code has a standard deviation of 0.1, and so
    has this project, for networks with batch norm. To a global ranking of magnitudes the constant
    is nothing, but to training it matters, with batch norm too: the effective step falls with the
    squared norm of the weights, and the output layer is not normalised. Over 70 iterations the
    loss of an unpruned ResNet-20 went from 2.80 to 1.82 with He initialisation and from 2.49 to
    1.85 with 0.1; with N(0, 1) it went from 8.60 to 2.05, and the convolutions did not move. LeNet
    has no batch norm and does not train from N(0, 1) at all; its constant is the geometric mean of
    its layers' He standard deviations, which leaves the scale of the logits as it is.

    Args:
        network: a name of `NETWORKS`.
        seed: the replicate.
        init: "he" or "fixed_variance".
        stream: "weights", or "reinit" for the second draw that the ablation needs.

    Raises:
        UnknownNameError: for another network or init.
        BadValueError, UserCodeError: a network of one's own is none that can be pruned, or its
            constructor or forward pass raised an exception.
    """
    network = find(network)
    check_name("init", init, INITS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, stream))
        model = NETWORKS[network][0]()
        initialise(model, init)
    model.network, model.input_shape = network, NETWORKS[network][1]
    model.memory_format = _memory_format(network)
    return model


@functools.cache
def _memory_format(key):
    """How images lie in memory while a network computes: channels last, which is faster, unless it
    is one of a user's own that asks for them in order, as `x.view(len(x), -1)` does."""
    if not provenance.is_own(key):
        return torch.channels_last
    make, shape = NETWORKS[key]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            inputs = torch.zeros(2, *shape).to(memory_format=torch.channels_last)
            model = make().to(memory_format=torch.channels_last)
            model.eval()(inputs)
            model.train()(inputs)
    except RuntimeError:  # of a view, or of inputs that are no images
        return torch.contiguous_format
    return torch.channels_last


def arranged(model: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs [n, …] as they lie in memory while a model computes: images as `model.memory_format`
    says, which `build` sets; without it, and of other inputs, one after the other."""
    images = inputs.dim() == 4 and hasattr(model, "memory_format")
    return inputs.contiguous(
        memory_format=model.memory_format if images else torch.contiguous_format
    )


def initialise(model: nn.Module, init: str = "he") -> None:
    """Draw the weights and batch norm of a network anew, in place, from torch's global generator;
    biases stay. How, `build` says, with the same `init`; raises UnknownNameError for another."""
    check_name("init", init, INITS)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [m for m in model.modules() if isinstance(m, BATCH_NORMS)]
    for layer in layers:
        if init == "he":
            nn.init.kaiming_normal_(layer.weight)
        else:
            nn.init.normal_(layer.weight)
    if init == "fixed_variance":
        deviations = [math.sqrt(2 / layer.weight[0].numel()) for layer in layers]
        scale = DEVIATION if norms else math.prod(deviations) ** (1 / len(deviations))
        for layer in layers:
            layer.weight.data.mul_(scale)
    for norm in norms:
        if norm.affine:
            nn.init.uniform_(norm.weight)
            nn.init.zeros_(norm.bias)


def input_shape(model: nn.Module) -> tuple[int, ...]:
    """The shape of one input, without the batch; BadValueError where the model does not say it."""
    if not hasattr(model, "input_shape"):
        raise BadValueError("set model.input_shape, for example to (3, 32, 32): it is needed here")
    return model.input_shape


def prunable(model: nn.Module) -> list[str]:
    """Names of the prunable parameters, in the order in which the layers are registered.

    The weight of every linear layer and two-dimensional convolution, the first and the last
    included; never biases, never batch norm. (Section 3 has "weights", and leaves open which.)

    Raises:
        BadValueError: a layer without a weight of its own: one that another has as well, or that is
            made of other parameters.
    """
    names = [
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    own = {name for name, _ in model.named_parameters()}
    for name in names:
        if name not in own:
            raise BadValueError(
                f"{name!r} is no parameter of its own: another layer has it too, or it is made of "
                "others; a mask needs a weight for each layer"
            )
    return names


def outline(network: str) -> nn.Module:
    """A network that is only looked at: on the meta device, which knows shapes and computes
    nothing; one of a user's own as it is, for its constructor may compute with tensors.

    Args:
        network: a name of `NETWORKS`; raises what `build` does.
    """
    key = find(network)
    device = "cpu" if provenance.is_own(key) else "meta"
    with torch.device(device), torch.random.fork_rng(devices=[]):
        return NETWORKS[key][0]()


def flops(network: str) -> int:
    """Floating-point operations of training on one image, forward and backward pass.

    Only matrix products and convolutions count, a multiplication and an addition each: of a layer
    forward, for the gradient of its weights, and for that of its inputs, which the first layer does
    not need.

    Args:
        network: a name of `NETWORKS`; raises what `build` does.
    """
    return _measured(find(network))[0]


def classes(network: str) -> int:
    """How many classes a network tells apart; else as `flops`."""
    return _measured(find(network))[1]


@functools.cache
def _measured(key):
    met, logits = _passed(outline(key), NETWORKS[key][1], f"network {provenance.label(key)!r}")
    forward = [2 * count for count in met.values()]
    return 3 * sum(forward) - forward[0], logits.shape[1]
