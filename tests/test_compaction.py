"""Small networks against the large ones that they stand for, in float64, and by hand."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunelib import channels, compaction, datasets, masks, networks, settings, training
from prunelib.errors import BadValueError

EXACT = 1e-10
STEPS = settings.schedule("resnet20_cifar10", "paper")


def thinned(model, seed=0, share=0.5):
    """A mask with dead rows and dead columns in every layer but the ends, and holes in the rest."""
    stream = torch.Generator().manual_seed(seed)
    mask, names = {}, networks.prunable(model)
    for name in names:
        w = model.get_parameter(name)
        m = torch.rand(w.shape, generator=stream) < 0.3
        if name != names[-1]:
            m[torch.rand(len(w), generator=stream) < share] = False
        if name != names[0]:
            m[:, torch.rand(w.shape[1], generator=stream) < share] = False
        mask[name] = m
    return mask


def moved(model, seed=1):
    """A network some of whose biases and betas begin above 0 and some below, in float64."""
    stream = torch.Generator().manual_seed(seed)
    model = model.double()
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.data.add_(torch.randn(p.shape, generator=stream, dtype=p.dtype) / 10)
    return model


def steps(model, mask, size, count=3, schedule=STEPS):
    """Train on a few batches of noise by training's recipe; the losses."""
    stream = torch.Generator().manual_seed(0)
    optimiser = training._optimiser(model.train(), schedule)
    losses = []
    for step in range(count):
        inputs = torch.randn(4, *size, generator=stream, dtype=torch.float64)
        targets = torch.randint(0, 10, (4,), generator=stream)
        optimiser.param_groups[0]["lr"] = schedule.learning_rate_at(step)
        optimiser.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimiser.step()
        masks.apply(model, mask)
        losses.append(loss.item())
    return losses


def unfollowed(small):
    """The statistics that are not followed: of channels that vary, and that nothing depends on."""
    found, names = small.channels, {}
    for node in found.graph.graph.nodes:
        if node.op == "call_module" and isinstance(channels.operation(node), nn.BatchNorm2d):
            lost = found.constants[node].isnan() & ~found.needed[node]
            names |= {f"{node.target}.{kind}": lost for kind in ("running_mean", "running_var")}
    return names


def decay(schedule, count):
    """What is left of a parameter without a gradient after 0, 1, … steps, by SGD with momentum and
    weight decay, as a share of what it was."""
    factors, velocity = [1.0], 0.0
    for step in range(count):
        velocity = schedule.momentum * velocity + schedule.weight_decay * factors[-1]
        factors.append(factors[-1] - schedule.learning_rate_at(step) * velocity)
    return factors


@torch.no_grad()
def restored(small, mask, start, schedule, count):
    """The large network's state after training, from the small one's and the large one's start."""
    factors = decay(schedule, count)
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    whole = {n: t.clone() if n.endswith(kinds) else t * factors[-1] for n, t in start.items()}
    for name, m in mask.items():
        whole[name] *= m
    for node in small.channels.graph.graph.nodes:
        if node.op == "call_module" and isinstance(channels.operation(node), nn.BatchNorm2d):
            # of channels that are constant: they follow a bias that decays, and no variance
            layer, norm = node.args[0].target, node.target
            stay = 1 - channels.operation(node).momentum
            dead = ~small.channels.constants[node].isnan()
            mean, bias = start[f"{norm}.running_mean"].double(), start.get(f"{layer}.bias", 0)
            for factor in factors[:-1]:
                mean = stay * mean + (1 - stay) * factor * bias
            whole[f"{norm}.running_mean"][dead] = mean.to(whole[f"{norm}.running_mean"])[dead]
            whole[f"{norm}.running_var"][dead] *= stay**count
            whole[f"{norm}.num_batches_tracked"] += count
    state = small.network.state_dict()
    for name, (large, at) in small.places.items():
        whole[large][torch.meshgrid(*at, indexing="ij")] = state[name].to(whole[large])
    return whole


def assert_restored(small, mask, start, large, schedule, count):
    found = restored(small, mask, start, schedule, count)
    lost = unfollowed(small)
    assert set(found) == set(large)
    for name, tensor in large.items():
        left = ~lost[name] if name in lost else torch.ones(len(tensor) if tensor.dim() else 1) > 0
        one, other = found[name].view(-1, 1) if not tensor.dim() else found[name], tensor
        torch.testing.assert_close(one[left], other.view(one.shape)[left], rtol=0, atol=EXACT)


@pytest.mark.parametrize("setting", ["lenet_digits", "resnet8_digits"])
@pytest.mark.parametrize("method", ["synflow", "snip"])
def test_an_epoch_of_the_small_network_is_one_of_the_large(setting, method):
    """By the reference loop: loss, accuracy, and every weight, after mapping back."""
    network = settings.get(setting).network
    schedule = settings.schedule(setting, "paper")
    schedule = replace(schedule, iterations=schedule.iterations_per_epoch)
    mask = masks.prune(networks.build(network), method, 0.965, datasets.scoring_batch(setting))
    large = masks.apply(networks.build(network).double(), mask)
    start = copy.deepcopy(large.state_dict())
    small = compaction.compact(large, mask)
    assert networks.prunable(small.network)
    sizes = [sum(p.numel() for p in n.parameters()) for n in (small.network, large)]
    assert sizes[0] < 0.7 * sizes[1]
    data = datasets.load("digits")
    expected = training.train(large, data, schedule, 0, mask)
    found = training.train(small.network, data, schedule, 0, small.mask)
    assert found.test_accuracy == expected.test_accuracy
    assert found.train_loss == pytest.approx(expected.train_loss, abs=EXACT)
    assert found.test_loss == pytest.approx(expected.test_loss, abs=EXACT)
    assert_restored(small, mask, start, large.state_dict(), schedule, schedule.iterations)


@pytest.mark.parametrize("network", networks.NETWORKS)
@pytest.mark.parametrize("begins", ["as built", "moved"])
def test_every_family_trains_the_same(network, begins):
    """With betas of 0, and with betas above and below it, as after some training. VGG's biases are
    0 here, where no rounding error opens a ReLU; then it is exact too."""
    if begins == "moved" and network not in ("lenet_8x8", "resnet8_8x8", "resnet20", "resnet18"):
        pytest.skip("one of each kind")
    model = networks.build(network).double()
    if begins == "moved":
        model = moved(model)
    if network.startswith("vgg"):
        for layer in model.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.zeros_(layer.bias)
    share = 0.3 if begins == "moved" else 0.5
    mask = thinned(model, share=share)
    masks.apply(model, mask)
    start, small = copy.deepcopy(model.state_dict()), compaction.compact(model, mask)
    # small images, but large enough that no channel is constant over a batch by chance
    side = 64 if network in ("resnet18", "resnet50") else 32 if network.startswith("vgg") else 16
    side = 28 if network == "lenet" else side
    size = (*model.input_shape[:1], *(min(side, n) for n in model.input_shape[1:]))
    one, other = steps(small.network, small.mask, size, 2), steps(model, mask, size, 2)
    assert one == pytest.approx(other, abs=EXACT)
    assert_restored(small, mask, start, model.state_dict(), STEPS, 2)
    inputs = torch.randn(2, *size, dtype=torch.float64)
    assert torch.allclose(small.network.eval()(inputs), model.eval()(inputs), atol=EXACT)


def test_rounding_sets_betas_of_vgg_free():
    """Where the mean over a batch of a constant is rounded up nothing happens; where it is rounded
    down the ReLU opens, and beta learns. The small network is the limit: it has none of those."""
    model = networks.build("vgg11").double()
    mask = thinned(model, share=0.5)
    masks.apply(model, mask)
    small = compaction.compact(model, mask)
    found, opened, moved_ = channels.find(model, mask), {}, {}
    for node in found.graph.graph.nodes:
        if node.op == "call_module" and isinstance(channels.operation(node), nn.BatchNorm2d):
            norm, dead = model.get_submodule(node.target), ~found.constants[node].isnan()
            norm.register_forward_hook(
                lambda _m, _i, out, name=node.target, dead=dead: opened.__setitem__(
                    name, (out.amax((0, 2, 3)) > 0) & dead
                )
            )
            moved_[node.target] = dead
    one = steps(model, mask, model.input_shape, count=1)
    other = steps(small.network, small.mask, model.input_shape, count=1)
    assert one == pytest.approx(other, abs=1e-6)
    for name, dead in moved_.items():
        beta = model.get_submodule(name).bias.detach()
        assert not (dead & (beta != 0) & ~opened[name]).any()
    free = sum(int((d & (model.get_submodule(n).bias != 0)).sum()) for n, d in moved_.items())
    assert 0 < free < sum(int(d.sum()) for d in moved_.values())
    names = {name for name in small.network.state_dict() if name.endswith("extra")}
    assert not names


def test_vgg_is_close_to_its_limit():
    model = networks.build("vgg11").double()
    mask = thinned(model, share=0.5)
    masks.apply(model, mask)
    small = compaction.compact(model, mask)
    one = steps(model, mask, model.input_shape, count=4)
    other = steps(small.network, small.mask, model.input_shape, count=4)
    assert one == pytest.approx(other, abs=0.02)
    assert one != pytest.approx(other, abs=EXACT)


# ------------------------------------------------------------------------------------- by hand


def chain(bias=False):
    """Image of one channel -> 3 -> 2 -> mean -> 2 logits."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 1, bias=bias), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 2, 1, bias=bias), nn.BatchNorm2d(2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2),
    )  # fmt: skip
    model.input_shape = (1, 4, 4)
    return model


def test_death_spreads_forwards_and_backwards():
    """Channel 0 of the first layer has no weight; the second layer's channel 1 reads nothing else,
    and so has none that counts. Channel 2 of the first leads to nothing."""
    mask = {
        "0.weight": torch.tensor([0, 1, 1]).bool().view(3, 1, 1, 1),
        "3.weight": torch.tensor([[1, 1, 0], [1, 0, 0]]).bool().view(2, 3, 1, 1),
        "8.weight": torch.ones(2, 2).bool(),
    }
    found = channels.find(chain(), mask)
    assert {name: rows.tolist() for name, rows in found.rows.items()} == {
        "0": [False, True, False],
        "3": [True, False],
        "8": [True, True],
    }
    assert found.columns["3"].tolist() == [False, True, False]
    # 16 places: 3 + 6 and 4 of the linear layer; 1 + 1 and 2
    assert channels.products(chain(), mask) == channels.Products(148, 34, 34)


def test_a_beta_above_0_is_alive_and_one_below_is_not():
    mask = {
        "0.weight": torch.tensor([0, 0, 1]).bool().view(3, 1, 1, 1),
        "3.weight": torch.ones(2, 3, 1, 1).bool(),
        "8.weight": torch.ones(2, 2).bool(),
    }
    model = chain()
    model[1].bias.data = torch.tensor([0.1, -0.1, 0.0])
    assert channels.find(model, mask).rows["0"].tolist() == [True, False, True]


def test_a_hidden_unit_without_weights_lives_by_its_bias():
    model = networks.build("lenet_8x8")
    mask = masks.full(model)
    mask["layers.0.weight"][:2] = False
    model.layers[0].bias.data[:2] = torch.tensor([0.1, -0.1])
    rows = channels.find(model, mask).rows["layers.0"]
    assert rows[:3].tolist() == [True, False, True]


def test_decay_is_what_sgd_does_to_a_weight_without_gradient():
    schedule = replace(STEPS, weight_decay=0.1, drops=(5,))
    w = torch.full((1,), 3.0, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1)
    expected = [3.0]
    for step in range(9):
        optimiser.param_groups[0]["lr"] = schedule.learning_rate_at(step)
        w.grad = torch.zeros_like(w)
        optimiser.step()
        expected.append(w.item())
    found = [3 * factor for factor in decay(schedule, 9)]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("setting", settings.SETTINGS)
def test_decay_never_turns_a_sign(setting):
    """Else a bias below 0 would rise above it and open its ReLU."""
    schedule = settings.schedule(setting, "paper")
    assert min(decay(schedule, schedule.iterations)) > 0


def test_synflow_leaves_resnet20_fewer_multiplications():
    """Counted once by other code, from collapsed neurons and weights that lead only to those."""
    model = networks.build("resnet20")
    for level, channelwise, weightwise in ((6, 1.5, 2.1), (18, 9.6, 20)):
        mask = masks.prune(model, "synflow", settings.sparsity(level))
        left = channels.products(model, mask)
        assert left.dense == 40_813_184
        assert left.dense / left.compact == pytest.approx(channelwise, rel=0.02)
        assert left.dense / left.kept == pytest.approx(weightwise, rel=0.02)


# ------------------------------------------------------------------------------------- refusals


def test_a_mask_that_cuts_the_network_is_refused():
    model = networks.build("vgg11")
    mask = masks.full(model)
    mask["features.4.weight"][:] = False
    with pytest.raises(BadValueError, match="no path from the image to layer"):
        compaction.compact(model, mask)


@pytest.mark.parametrize(
    "parts",
    [
        [nn.Conv2d(2, 2, 1), nn.Sigmoid()],
        [nn.Conv2d(2, 2, 1, groups=2), nn.ReLU()],
        [nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, affine=False), nn.ReLU()],
        [nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False), nn.ReLU()],
        [nn.Conv2d(2, 2, 1), nn.Flatten(2)],
        [nn.Conv2d(2, 2, 1), nn.Linear(4, 4)],
        [nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)],
    ],
)
def test_parts_of_which_nothing_is_known_are_refused(parts):
    """The last: without a ReLU behind it, a beta of 0 gets a gradient."""
    model = nn.Sequential(*parts)
    model.input_shape = (2, 4, 4)
    with pytest.raises(BadValueError, match="cannot be compacted"):
        compaction.compact(model, masks.full(model))


class Forward(nn.Module):
    """A convolution and what a function makes of it and its input."""

    def __init__(self, forward):
        super().__init__()
        self.layer, self.scale = nn.Conv2d(2, 2, 1), nn.Parameter(torch.ones(1))
        self.input_shape, self._forward = (2, 4, 4), forward

    def forward(self, x):
        return self._forward(self, x)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.layer(x).relu() + 1,
        lambda m, x: m.layer(x) + m.scale,
        lambda m, x: torch.flatten(input=m.layer(x)),
        lambda m, x: m.layer(m.layer(x).relu()),
        lambda m, x: m.layer(x).mean(1),
        lambda m, x: m.layer(x).mean((-1, -3)),
        lambda m, x: m.layer(x).mean(),
        lambda m, x: m.layer(x).flatten(2),
    ],
)
def test_what_is_computed_in_ways_that_are_not_known_is_refused(forward):
    model = Forward(forward)
    with pytest.raises(BadValueError, match="cannot be compacted"):
        compaction.compact(model, masks.full(model))
