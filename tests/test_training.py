"""The training loop against one written out by hand, in float64."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import SmallNet
from safetensors.torch import load, save
from torch import nn

from prunelib import datasets, masks, networks, settings, training
from prunelib.datasets import Dataset
from prunelib.errors import BadValueError

# Three epochs of batches of 8, 8 and 6; the learning rate drops in the middle of an epoch.
SCHEDULE = settings.Schedule(
    iterations=8, iterations_per_epoch=3, batch_size=8, learning_rate=0.1, drops=(4, 6.5),
    drop_factor=0.1, warmup=0, momentum=0.9, weight_decay=0.01, rewind_step=0, test_examples=None,
)  # fmt: skip
RATES = [0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001]


def network():
    torch.manual_seed(0)
    return SmallNet(2, 3, 4).double()


@pytest.fixture
def dataset():
    stream = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (22, 2, 5, 5), generator=stream, dtype=torch.uint8)
    labels = torch.arange(22) % 4
    return Dataset(
        "synthetic", images, labels, images[:9], labels[:9], (0.4, 0.5), (0.2, 0.3), "none", "0"
    )


@pytest.fixture
def mask():
    stream = torch.Generator().manual_seed(2)
    model = network()
    return {
        name: torch.rand(model.get_parameter(name).shape, generator=stream) < 0.6
        for name in networks.prunable(model)
    }


def by_hand(model, dataset, replicate, rates, mask):
    """SGD with momentum 0.9 and weight decay 0.01 on every parameter; the mask is applied in the
    forward pass. Returns the mean loss over the examples of the last epoch, as far as it went."""
    values = dict(model.named_parameters())
    velocity = {name: torch.zeros_like(v) for name, v in values.items()}
    losses = []
    for step, rate in enumerate(rates):
        if step % 3 == 0:
            order, losses = dataset.draws(replicate, step // 3).order, []
        chosen = order[8 * (step % 3) : 8 * (step % 3) + 8]
        x = dataset.normalise(dataset.train_images[chosen]).double()
        y = dataset.train_labels[chosen]
        masked = {n: v * mask[n] if n in mask else v for n, v in values.items()}
        logits = torch.func.functional_call(model, masked, (x,))
        each = logits.exp().sum(1).log() - logits[torch.arange(len(y)), y]
        losses += each.tolist()
        gradients = torch.autograd.grad(each.mean(), values.values())
        with torch.no_grad():
            for (name, v), g in zip(values.items(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + g + 0.01 * v
                v -= rate * velocity[name]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("count", [8, 9])  # ending with the epoch's short batch, and before it
@pytest.mark.parametrize("masked", [False, True])
def test_the_loop_is_sgd_written_out(dataset, mask, masked, count):
    """Momentum, weight decay, drops, the short batch, batch norm; and a mask applied in place
    gives the kept weights that masking in the forward pass gives."""
    mask = mask if masked else {}
    expected, found = network(), network()
    loss = by_hand(expected, dataset, 3, RATES[:count], mask)
    masks.apply(expected, mask)
    outcome = training.train(found, dataset, replace(SCHEDULE, iterations=count), 3, mask)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-10, atol=1e-12)
    assert outcome.train_loss == pytest.approx(loss, rel=1e-10)


def test_the_order_depends_on_the_replicate(dataset):
    models = [network() for _ in range(3)]
    for model, replicate in zip(models, (0, 0, 1), strict=True):
        training.train(model, dataset, SCHEDULE, replicate)
    assert torch.equal(models[0].fc.weight, models[1].fc.weight)
    assert not torch.allclose(models[0].fc.weight, models[2].fc.weight, rtol=1e-3)


def test_pruned_weights_are_exactly_zero_after_every_step(dataset, mask):
    model, steps = network(), []

    def look():
        for name, m in mask.items():
            weight = model.get_parameter(name)
            assert (weight[~m] == 0).all()
            assert (weight[m] != 0).all()
        steps.append(1)

    training.train(model, dataset, SCHEDULE, 0, mask, on_step=look)
    assert len(steps) == 8


def test_the_last_short_batch_of_an_epoch_is_kept(dataset):
    model, sizes = network(), []
    model.register_forward_pre_hook(
        lambda module, arguments: sizes.append(len(arguments[0])) if module.training else None
    )
    training.train(model, dataset, SCHEDULE, 0)
    assert sizes == [8, 8, 6, 8, 8, 6, 8, 8]


def test_states_are_those_after_as_many_iterations(dataset, mask):
    outcome = training.train(network(), dataset, SCHEDULE, 0, mask, keep={0, 3, 5, "end"})
    assert set(outcome.states) == {0, 3, 5, "end"}
    first = masks.apply(network(), mask).state_dict()
    assert all(torch.equal(outcome.states[0][n], v) for n, v in first.items())
    for step in (3, 5, "end"):
        model = network()
        count = 8 if step == "end" else step
        training.train(model, dataset, replace(SCHEDULE, iterations=count), 0, mask)
        state = model.state_dict()
        assert list(outcome.states[step]) == list(state)  # batch-norm statistics too
        assert all(torch.equal(outcome.states[step][n], v) for n, v in state.items())
    assert outcome.states[3]["norm.num_batches_tracked"] == 3


def test_a_state_is_a_copy_that_can_be_saved():
    """Convolutions may be trained with channels last in memory, which safetensors refuses."""
    model = network().to(memory_format=torch.channels_last)
    assert not model.conv.weight.is_contiguous()
    before = model.conv.weight.detach().clone()
    state = training.snapshot(model)
    with torch.no_grad():
        model.conv.weight.zero_()
    assert torch.equal(load(save(state))["conv.weight"], before)


def test_a_warm_up_is_followed(dataset):
    """The first three steps of four at none, a quarter and a half of the rate, as in the code that
    the authors published (OpenLTH)."""
    warm = replace(SCHEDULE, iterations=3, warmup=4)
    expected, found = network(), network()
    by_hand(expected, dataset, 0, [0.0, 0.025, 0.05], {})
    training.train(found, dataset, warm, 0)
    torch.testing.assert_close(found.conv.weight, expected.conv.weight, rtol=1e-10, atol=1e-12)


# ----------------------------------------------------------------------------------- evaluation


class Pixels(nn.Module):
    """Its logits are the three pixels of the image, through a batch norm that does nothing in
    evaluation mode."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3, affine=False, eps=1e-30)
        self.one = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x):
        return self.norm(x.flatten(1)) * self.one


def test_evaluation_by_hand():
    """Five examples, logits and losses by hand; four right, or of the first, third and last two.
    The loss of (0, 1, 2) at 2 is log(e^-2 + e^-1 + 1)."""
    logits = [[0, 1, 2], [7, 0, 0], [0, 0, 3], [0, 5, 0], [1, 4, 1]]
    labels = [2, 0, 1, 1, 1]
    images = torch.tensor(logits, dtype=torch.uint8).view(5, 1, 1, 3)
    data = Dataset("pixels", images, torch.tensor(labels), images, torch.tensor(labels),
                   (0.0,), (1 / 255,), "none", "0")  # fmt: skip
    losses = [
        math.log(math.exp(-2) + math.exp(-1) + 1),
        math.log(1 + 2 * math.exp(-7)),
        3 + math.log(1 + 2 * math.exp(-3)),
        math.log(1 + 2 * math.exp(-5)),
        math.log(1 + 2 * math.exp(-3)),
    ]
    model = Pixels().double().train()
    accuracy, loss = training.evaluate(model, data)
    assert accuracy == 4 / 5
    assert loss == pytest.approx(sum(losses) / 5, rel=1e-5)
    accuracy, loss = training.evaluate(model, data, limit=3)  # evenly spaced: first, third, fifth
    assert accuracy == pytest.approx(2 / 3)
    assert loss == pytest.approx((losses[0] + losses[2] + losses[4]) / 3, rel=1e-5)
    assert model.training
    assert model.norm.num_batches_tracked == 0


def test_the_outcome_is_the_evaluation_at_the_end(dataset):
    model = network()
    outcome = training.train(model, dataset, replace(SCHEDULE, test_examples=4), 0)
    assert (outcome.test_accuracy, outcome.test_loss) == training.evaluate(model, dataset, 4)
    assert (outcome.test_accuracy, outcome.test_loss) != training.evaluate(model, dataset)


def test_a_mask_of_another_network_is_told_before_training():
    model, other = networks.build("lenet_8x8"), masks.full(networks.build("resnet8_8x8"))
    schedule = settings.schedule("lenet_digits", "smoke")
    with pytest.raises(BadValueError, match="a mask must be of the prunable weights"):
        training.train(model, datasets.load("digits"), schedule, 0, mask=other)
