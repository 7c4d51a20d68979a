"""Which channels of a masked network do anything: those that vary, and that something depends on.

Read off the network's graph, forwards and backwards, as `torch.fx` traces it. A channel, or neuron,
none of whose incoming weights are left is constant; if that constant is not above 0 and the next
thing is a ReLU, it is 0 and gets no gradient, and all that it leads to loses an incoming weight. A
channel that only leads to pruned weights, or to such channels, changes no output. `compaction` says
what follows for training, `products` counts what is left to compute.
"""

import copy
import operator
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from prunelib.errors import BadValueError

Mask = dict[str, Tensor]

SUMS = (operator.add, operator.iadd, torch.add)
_SAME = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Identity, nn.Flatten, nn.Dropout,
    "mean", "flatten", torch.flatten,
)  # fmt: skip


@dataclass(frozen=True)
class Channels:
    """What `find` finds, by node of the graph.

    Attributes:
        graph: of the network, with shapes of one image.
        constants: of each channel the constant that it is, nan where it varies.
        needed: of each channel whether the loss depends on it, or on a parameter that makes it.
        rows, columns: by layer, the output channels that are computed and the input channels that
            they are computed from, as bool tensors.
    """

    graph: fx.GraphModule
    constants: dict[fx.Node, Tensor]
    needed: dict[fx.Node, Tensor]
    rows: dict[str, Tensor]
    columns: dict[str, Tensor]


def operation(node: fx.Node) -> nn.Module | str | object:
    """What a node does: the module, method or function that it calls."""
    modules = node.graph.owning_module
    return modules.get_submodule(node.target) if node.op == "call_module" else node.target


def is_layer(node: fx.Node) -> bool:
    """Whether a node is a convolution or a linear layer."""
    return isinstance(operation(node), nn.Conv2d | nn.Linear)


def is_relu(node: fx.Node) -> bool:
    """Whether a node is a ReLU."""
    done = operation(node)
    return isinstance(done, nn.ReLU) or done in ("relu", torch.relu, nn.functional.relu)


def is_sum(node: fx.Node) -> bool:
    """Whether a node adds two tensors."""
    return node.op != "placeholder" and operation(node) in SUMS


def summed(node: fx.Node) -> fx.Node | None:
    """The sum that a node passes on, channel by channel, if any."""
    while not is_sum(node):
        if node.op == "placeholder" or is_layer(node):
            return None
        node = node.args[0]
    return node


def find(model: nn.Module, mask: Mask) -> Channels:
    """The channels of a network that a mask leaves something to do.

    Args:
        model: a network of convolutions with one group, linear layers, batch norm, ReLU, pooling
            and sums, with `input_shape`; not changed. Its biases and betas matter, at the beginning
            of training, its weights do not.
        mask: dict from parameter name to bool tensor, True where kept.

    Raises:
        BadValueError: a network of other parts.
    """
    meta = copy.deepcopy(model).to("meta").eval()
    try:
        graph = fx.symbolic_trace(meta)
    except Exception as error:  # whatever a forward that cannot be traced does with a proxy
        raise BadValueError(f"the network's channels cannot be traced: {error}") from error
    kind = next(model.parameters()).dtype
    ShapeProp(graph).propagate(torch.empty(1, *model.input_shape, device="meta", dtype=kind))
    state = {n: p.detach().double().cpu() for n, p in model.named_parameters()}
    left = {n: m.cpu().flatten(2).any(2) if m.dim() > 2 else m.cpu() for n, m in mask.items()}
    called = [node.target for node in graph.graph.nodes if node.op == "call_module"]
    for name, times in Counter(called).items():
        if times > 1 and list(meta.get_submodule(name).parameters()):
            raise BadValueError(f"a network that passes {name!r} twice cannot be compacted")
    constants: dict[fx.Node, Tensor] = {}
    for node in graph.graph.nodes:
        if node.op != "output":
            constants[node] = _constants(node, constants, left, state)
    needed = {node: torch.zeros(len(c), dtype=torch.bool) for node, c in constants.items()}
    found = Channels(graph, constants, needed, {}, {})
    for node in reversed(graph.graph.nodes):
        _need(node, found, left)
    return found


def _constants(node, constants, left, state):
    """The constants of a node's channels, from those of the nodes that it reads."""
    if node.op == "placeholder":
        return torch.full((shape(node)[1],), torch.nan, dtype=torch.float64)
    done = operation(node)
    reads = node.args[: 2 if done in SUMS else 1]
    known = bool(reads) and all(isinstance(x, fx.Node) and x in constants for x in reads)
    if node.op == "get_attr" or not known:
        raise BadValueError(f"a network with {done!r} of {reads} cannot be compacted")
    x = constants[node.args[0]]
    grouped = getattr(done, "groups", 1) != 1
    norm = isinstance(done, nn.BatchNorm2d)
    open_norm = norm and not (done.affine and done.track_running_stats and _closed(node))
    if grouped or open_norm or not _keeps_apart(node):
        raise BadValueError(f"a network with {done!r} cannot be compacted: of {node.target!r}")
    if is_layer(node):
        varies = (left[f"{node.target}.weight"] & (x != 0)).any(1)
        bias = state.get(f"{node.target}.bias", torch.zeros(len(varies), dtype=torch.float64))
        return torch.where(varies, torch.nan, bias)
    if norm:  # takes away any constant, and adds its own
        return torch.where(x.isnan(), torch.nan, state[f"{node.target}.bias"])
    if is_relu(node):  # a constant above 0 gets a gradient, and does not stay what it is
        return torch.where(x <= 0, 0.0, torch.nan)
    if done in SUMS:
        return x + constants[node.args[1]]
    if not (done in _SAME or isinstance(done, tuple(k for k in _SAME if isinstance(k, type)))):
        raise BadValueError(f"a network with {done!r} cannot be compacted")
    return x.repeat_interleave(shape(node)[1] // len(x))  # flattened, a channel is many


def _keeps_apart(node):
    """Whether channels, dimension 1, are not mixed by what a node does to its dimensions."""
    done, before = operation(node), len(shape(node.args[0]))
    first = node.args[1] if len(node.args) > 1 else None
    if isinstance(done, nn.Linear):
        return before == 2
    if isinstance(done, nn.Flatten):
        return done.start_dim == 1
    if done in ("flatten", torch.flatten):
        return node.kwargs.get("start_dim", first) == 1
    if done == "mean":
        dims = node.kwargs.get("dim", first)
        return dims is not None and min(d % before for d in torch.tensor(dims).view(-1)) > 1
    return True


def _closed(norm):
    """Whether all that follows a batch norm, or a sum with it, is ReLU: else a beta of 0 learns."""
    after = [u for user in norm.users for u in (user.users if is_sum(user) else [user])]
    return all(map(is_relu, after))


def _need(node, found, left):
    """Pass on to the nodes that a node reads which of their channels it needs."""
    needed, constants = found.needed, found.constants
    if node.op == "output":
        needed[node.args[0]][:] = True
    if node.op in ("output", "placeholder"):
        return
    own, x = needed[node], node.args[0]
    if is_layer(node):
        name = node.target
        found.rows[name] = own
        found.columns[name] = left[f"{name}.weight"][own].any(0) & (constants[x] != 0)
        needed[x] |= found.columns[name]
    elif is_relu(node):
        needed[x] |= own & constants[node].isnan()
    elif isinstance(operation(node), nn.BatchNorm2d):
        # Where a batch norm's constant enters a sum, it is all that is needed of the channel.
        needed[x] |= own & ~constant_rows(node, constants)
    elif operation(node) in SUMS:
        for summand in node.args:  # a beta of 0 learns as well as another
            learns = isinstance(operation(summand), nn.BatchNorm2d)
            needed[summand] |= own & (learns | (constants[summand] != 0))
    else:
        needed[x] |= own.view(len(needed[x]), -1).any(1)


def constant_rows(norm: fx.Node, constants: dict[fx.Node, Tensor]) -> Tensor:
    """Which channels of a batch norm are its beta, and nothing else, in a sum: a bool tensor."""
    summed = all(operation(user) in SUMS for user in norm.users)
    return ~constants[norm].isnan() & summed


def shape(node: fx.Node) -> torch.Size:
    """The shape of what a node returns for one image."""
    return node.meta["tensor_meta"].shape


@dataclass(frozen=True)
class Products:
    """Multiplications of a forward pass on one image: of the whole network, of the channels that
    are left, and of the weights that are left there."""

    dense: int
    compact: int
    kept: int


def products(model: nn.Module, mask: Mask) -> Products:
    """Count the multiplications that a mask leaves, by layers, channels and weights.

    Args and errors are those of `find`.
    """
    found, counts = find(model, mask), torch.zeros(3, dtype=torch.int64)
    for node in found.graph.graph.nodes:
        if node.op == "call_module" and is_layer(node):
            m, places = mask[f"{node.target}.weight"].cpu(), shape(node)[2:].numel()
            inner = m[found.rows[node.target]][:, found.columns[node.target]]
            counts += places * torch.tensor([m.numel(), inner.numel(), int(inner.sum())])
    return Products(*counts.tolist())
