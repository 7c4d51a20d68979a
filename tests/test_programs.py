"""Many networks as one program against the plain loop in float64; pausing; precision."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from conftest import SmallNet
from safetensors.torch import load, save
from torch.utils._python_dispatch import TorchDispatchMode

from prunelib import architectures, datasets, masks, networks, settings, training
from prunelib.engine import programs
from prunelib.engine.graphs import Captured
from prunelib.errors import PrunelibError, UnknownNameError
from prunelib.precision import PRECISIONS

# Across the end of an epoch, with its short batch, and a drop of the rate.
LENET = replace(
    settings.schedule("lenet_digits", "smoke"), iterations=13, drops=(9,), test_examples=50
)
CONV = settings.Schedule(
    iterations=8, iterations_per_epoch=3, batch_size=8, learning_rate=0.1, drops=(4, 6.5),
    drop_factor=0.1, warmup=2, momentum=0.9, weight_decay=0.01, rewind_step=0, test_examples=None,
)  # fmt: skip
KINDS = ("stacked", "wide", "several")


def build(kind, seed):
    torch.manual_seed(seed)
    if kind == "stacked":
        return networks.build("lenet_8x8", seed)
    model = architectures.CifarResNet(8, 2, 5) if kind == "wide" else SmallNet(3, 4, 5)
    model.memory_format = torch.channels_last  # as `networks.build` says
    return model


def noise():
    stream = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (22, 3, 12, 12), generator=stream, dtype=torch.uint8)
    labels = torch.arange(22) % 5
    return datasets.Dataset(
        "noise", images, labels, images[:9], labels[:9], (0.5,) * 3, (0.2,) * 3, "crop", "0"
    )


def ingredients(kind, count=3, dtype=torch.float64):
    """Networks, masks of no, middle and extreme sparsity, schedule and dataset."""
    """`kind` is "stacked" LeNets, "wide" convolutional networks, stacked too, or "several"."""
    lenet = kind == "stacked"
    models = [build(kind, k).to(dtype) for k in range(count)]
    sparsities = (0.0, 0.5, 0.95)
    mask = [masks.prune(m, "magnitude", sparsities[k % 3]) for k, m in enumerate(models)]
    return models, mask, LENET if lenet else CONV, datasets.load("digits") if lenet else noise()


def program(kind, order=(0, 1, 2), precision="fp32", dtype=torch.float64, gradual=None):
    models, mask, schedule, dataset = ingredients(kind, dtype=dtype)
    chosen = [models[k] for k in order], [mask[k] for k in order]
    made = programs.make(*chosen, schedule, precision, gradual, stacked=kind != "several")
    return made, dataset


def states(made):
    return [made.state(k) for k in range(made.count)]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_program(kind):
    assert type(program(kind)[0]) is (programs.Several if kind == "several" else programs.Stacked)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradual", [None, 0.9])
@pytest.mark.parametrize("ends", ["within an epoch", "with an epoch's short batch"])
def test_a_program_trains_as_the_plain_loop_does(kind, gradual, ends, monkeypatch):
    if ends != "within an epoch":  # as the paper's schedules do
        monkeypatch.setitem(globals(), "LENET", replace(LENET, iterations=11))
        monkeypatch.setitem(globals(), "CONV", replace(CONV, iterations=9))
    made, dataset = program(kind, gradual=[gradual, None, None])
    outcomes = programs.train(made, dataset, 7)
    models, mask, schedule, _ = ingredients(kind)
    for k, (model, own, found) in enumerate(zip(models, mask, outcomes, strict=True)):
        pruned = gradual if k == 0 else None
        plain = training.train(model, dataset, schedule, 7, own, keep=("end",), gradual=pruned)
        state = made.state(k)
        assert list(state) == list(plain.states["end"])
        for name, value in plain.states["end"].items():
            change = (state[name] - value).double().norm()
            assert float(change) <= 1e-12 * float(value.double().norm())
        assert found.test_accuracy == pytest.approx(plain.test_accuracy, abs=1e-7)
        assert found.test_loss == pytest.approx(plain.test_loss, rel=1e-12)
        assert found.train_loss == pytest.approx(plain.train_loss, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_outcomes_come_in_the_order_of_the_networks(kind):
    """Permuting the networks permutes the outcomes; one alone comes out as in company, so what
    it sees does not depend on the company."""
    made, dataset = program(kind)
    losses = [o.test_loss for o in programs.train(made, dataset, 0)]
    assert len(set(losses)) == 3
    for order in ((2, 0, 1), (1,)):
        found = programs.train(program(kind, order)[0], dataset, 0)
        assert [o.test_loss for o in found] == pytest.approx([losses[k] for k in order], rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("broken", "gradual"), [(1, None), (0, 0.9)])
def test_a_diverging_network_leaves_the_others_bitwise_unchanged(kind, broken, gradual):
    """Also where it is pruned while it trains: its weights have no order, and are pruned in any."""
    made, dataset = program(kind, gradual=[gradual, None, None])
    expected = programs.train(made, dataset, 0)
    other, _ = program(kind, gradual=[gradual, None, None])
    next(iter(other.tensors(broken).values()))[0] = float("nan")
    found = programs.train(other, dataset, 0)
    assert found[broken].test_loss != found[broken].test_loss
    assert masks.kept(other.mask(broken)) == masks.kept(made.mask(broken))
    for k in {0, 1, 2} - {broken}:
        assert found[k] == expected[k]
        assert same(other.state(k), made.state(k))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pruned_weights_are_exactly_zero_after_every_iteration(kind, precision):
    made, dataset = program(kind, precision=precision, dtype=torch.float32)
    mask, seen = ingredients(kind)[1], []

    def look(done):
        for k, own in enumerate(mask):
            for name, m in own.items():
                assert torch.equal(made.tensors(k)[name] != 0, m)
        seen.append(done)

    programs.train(made, dataset, 0, look)
    assert seen == list(range(made.schedule.iterations + 1))


# ------------------------------------------------------------------------------------- pausing


def resumed(kind, packed, done, dataset, **options):
    """The rest of a training from what `pack` saved, through safetensors, in networks that know
    nothing of it."""
    models, _, schedule, _ = ingredients(kind, dtype=torch.float32)
    for model in models:
        for p in model.parameters():
            p.data.normal_()
    full = [masks.full(m) for m in models]
    made = programs.make(models, full, schedule, **options, stacked=kind != "several")
    for k, content in enumerate(packed):
        made.unpack(k, load(content))
    made.done = done
    return made, programs.train(made, dataset, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("pause", [0, 5, 6, 7])
def test_a_paused_training_goes_on_bitwise(kind, precision, pause):
    """In an epoch and at its end; momentum, batch-norm statistics, the loss of the epoch and the
    mask of a network that is pruned while it trains included."""
    options = {"precision": precision, "gradual": [0.8, None, None]}
    made, dataset = program(kind, dtype=torch.float32, **options)
    expected = programs.train(made, dataset, 0)
    half, _ = program(kind, dtype=torch.float32, **options)
    assert programs.train(half, dataset, 0, lambda done: done == pause) is None
    assert half.done == pause
    packed = [save(half.pack(k)) for k in range(3)]
    again, outcomes = resumed(kind, packed, pause, dataset, **options)
    assert outcomes == expected
    assert all(same(one, other) for one, other in zip(states(again), states(made), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_only_kept_weights_and_their_momentum_are_saved(kind):
    made, dataset = program(kind)
    programs.train(made, dataset, 0, lambda done: done == 4)
    mask = ingredients(kind)[1][2]
    for name, m in mask.items():
        for what in ("state", "momentum") if made.schedule.momentum else ("state",):
            assert made.pack(2)[f"{what}/{name}"].numel() == int(m.sum())
        assert made.pack(2)[f"mask/{name}"].nbytes == -(-m.numel() // 8)


# ------------------------------------------------------------------- precision, and CUDA graphs


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_multiplies_in_short_numbers_and_keeps_long_ones(kind):
    """The second step, as the first has no rate yet, moves the weights by what it moves them by in
    fp32, within the 8 bits of bf16; weights and momentum stay in float32, and so does the loss of
    the evaluation."""
    moved = {}
    for precision in ("fp32", "bf16"):
        made, dataset = program(kind, precision=precision, dtype=torch.float32)
        before = states(made)
        programs.train(made, dataset, 0, lambda done: done == 2)
        moved[precision] = [
            torch.cat([(s[n] - b[n]).flatten() for n in b if b[n].is_floating_point()])
            for s, b in zip(states(made), before, strict=True)
        ]
        live = [*made.tensors(0).values(), *made.momenta(0).values(), made.total]
        assert {t.dtype for t in live if t.is_floating_point()} == {torch.float32}
    for long, short in zip(moved["fp32"], moved["bf16"], strict=True):
        assert 0 < float((long - short).norm() / long.norm()) < 0.1


def test_products_are_left_in_the_precision_they_were_in():
    torch.set_float32_matmul_precision("medium")
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        for precision in PRECISIONS:
            made, dataset = program("several", precision=precision, dtype=torch.float32)
            programs.train(made, dataset, 0, lambda done: done == 2)
            assert torch.get_float32_matmul_precision() == "medium"
            assert torch.backends.cudnn.allow_tf32 == tf32
            assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_products_are_computed_as_asked_and_evaluated_in_full_precision(precision, monkeypatch):
    """Backward too, where autocast is off: the gradients are of the short products."""
    made, dataset = program("several", precision=precision, dtype=torch.float32)
    seen, logits = [], made.logits

    def look(*_):
        seen.append(
            (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32,
             torch.is_autocast_enabled("cpu"))
        )  # fmt: skip

    monkeypatch.setattr(made, "logits", lambda inputs: (look(), logits(inputs))[1])
    made.parameters[0].register_hook(look)  # called in the backward pass
    made.step(*dataset.train_batch(dataset.draws(0, 0).part(0, 8)))
    made.evaluate(dataset)
    full = ("highest", False, False)
    asked = {"fp32": full, "tf32": ("high", True, False), "bf16": ("highest", False, True)}
    forward, backward, *evaluated = seen
    assert forward == asked[precision]
    assert backward == (*asked[precision][:2], False)
    assert set(evaluated) == {full}


def test_an_unknown_precision():
    with pytest.raises(UnknownNameError, match="unknown precision 'fp8'; choose from fp32"):
        program("stacked", precision="fp8")


class Watch(TorchDispatchMode):
    """Refuses what a CUDA graph cannot hold: waiting for a value, shapes that depend on values,
    tensors made from numbers of the host."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "unique")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert not any(word in str(function) for word in self.FORBIDDEN), function
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_an_iteration_could_be_captured_as_a_cuda_graph(kind):
    """From the draws on it waits for nothing, and all that outlives it stays in its place."""
    made, dataset = program(kind, dtype=torch.float32)
    part = dataset.draws(0, 0).part(0, 8)
    made.step(*dataset.train_batch(part))

    def places():
        live = [
            t for k in range(3)
            for t in (*made.tensors(k).values(), *made.momenta(k).values(), *made.mask(k).values())
        ]  # fmt: skip
        return [t.data_ptr() for t in (*live, made.total, made.rate)]

    before = places()
    with Watch():
        made.step(*dataset.train_batch(part))
    assert places() == before


def test_a_network_that_cannot_be_captured_gets_one_sentence(monkeypatch):
    """As one whose forward pass asks for a number, for which a capture cannot wait."""
    words = "CUDA error: operation not permitted when stream is capturing\nMore of it."

    @contextlib.contextmanager
    def graph(graph, pool):
        """The end of a capture covers an error of the body by one of its own."""
        try:
            yield
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error")

    def step(*batch):
        raise RuntimeError(words)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the caller's")
    current = []
    monkeypatch.setattr(torch.cuda, "set_stream", current.append)
    captured = Captured.__new__(Captured)
    captured.graphs, captured.dataset = {}, Mock(train_batch=lambda draws: (None, None))
    program = SimpleNamespace(optimiser=Mock(), step=step)
    draws = datasets.load("digits").draws(0, 0)
    with pytest.raises(PrunelibError, match="when stream is capturing") as caught:
        captured._capture(program, draws)
    assert "\n" not in str(caught.value)
    assert "--device cpu" in str(caught.value)
    assert current == ["the caller's"]
    words = "CUDA out of memory."
    with pytest.raises(RuntimeError, match="due to a previous error"):
        captured._capture(program, draws)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_captured_iterations_are_those_that_are_not_captured(kind, precision, monkeypatch):
    """Across the end of an epoch, with gradual pruning, whose masks change between replays; in a
    short precision for three iterations, behind which what is rounded decides what is pruned."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    made = []
    for captured in (True, False):
        models, mask, schedule, dataset = ingredients(kind, dtype=torch.float32)
        models = [m.cuda() for m in models]
        stacked, gradual = kind != "several", [0.8, None, None]
        if precision != "fp32":
            schedule, gradual = replace(schedule, iterations=3), None
        one = programs.make(models, mask, schedule, precision, gradual, stacked=stacked)
        one.captured = None if captured else False
        programs.train(one, dataset.to("cuda"), 0)
        made.append(states(one))
    for one, other in zip(*made, strict=True):
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)
