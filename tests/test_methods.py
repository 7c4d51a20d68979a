"""Methods of every kind that a user may register, against masks worked out by hand."""

import contextlib
import functools
import itertools
import random
import re
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from prunelib import datasets, masks, networks, provenance, scores
from prunelib.errors import BadValueError, PrunelibError, UserCodeError
from prunelib.runs import Curve, Run


def two_layers():
    """8 and 4 prunable weights."""
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2))
    model[0].weight.data = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    model[2].weight.data = torch.tensor([[9.0, 10], [11, 12]])
    return model


# ---------------------------------------------------------------------------- what a score may ask


def test_the_sparsity_of_each_iteration_is_passed_to_a_score_that_asks(registry):
    """Densities 1/4 in two iterations: 1/2, then 1/4."""
    seen = []

    @scores.register("asking", iterations=2, needs_data=False)
    def asking(model, batch, sparsity):
        seen.append(sparsity)
        return scores.magnitude(model)

    masks.prune(two_layers(), "asking", 0.75)
    assert seen == pytest.approx([0.5, 0.75])
    with pytest.raises(BadValueError, match="'asking' asks for the sparsity: pass sparsity="):
        scores.score(two_layers(), "asking")
    scores.score(two_layers(), "asking", sparsity=0.3)
    assert seen[-1] == 0.3


def test_one_that_asks_for_the_sparsity_is_ranked_at_each(registry):
    @scores.register("first_or_last", needs_data=False)
    def first_or_last(model, batch, sparsity):
        sign = 1 if sparsity < 0.6 else -1
        return {n: sign * z for n, z in scores.magnitude(model).items()}

    assert not scores.get("first_or_last").ranks_once
    model = two_layers()
    assert masks.prune(model, "first_or_last", 0.5)["2.weight"].all()
    assert not masks.prune(model, "first_or_last", 0.75)["2.weight"].any()


# ------------------------------------------------------------------------------- weights come back


def test_pruned_weights_may_come_back_where_a_method_ranks_them(registry):
    """Scores are |w|, those of kept weights divided by 100: each iteration keeps first what the one
    before has pruned. Weights 1 to 12, to densities 1/2 and 1/4: all are kept, so that the first
    keeps 7 … 12 (6 weights); then 1 … 6 score 1 … 6 and 7 … 12 score .07 … .12, and 4, 5, 6 are
    kept."""
    seen = []

    @scores.register("back", revives=True, iterations=2, needs_data=False)
    def back(model, batch, mask):
        weights = {n: model.get_parameter(n).detach() for n in networks.prunable(model)}
        seen.append((sum(int((w != 0).sum()) for w in weights.values()), masks.kept(mask)))
        return {n: w * (1 - 0.99 * mask[n].float()) for n, w in weights.items()}

    mask = masks.prune(two_layers(), "back", 0.75)
    assert seen == [(12, 12), (12, 6)]  # the original weights, and what was kept of them
    assert mask["0.weight"].tolist() == [[False, False, False, True], [True, True, False, False]]
    assert not mask["2.weight"].any()
    with pytest.raises(BadValueError, match=r"0\.1 is below the mask's own \(0\.75.*never less"):
        masks.prune(two_layers(), "back", 0.1, mask=mask)


def test_force_like_scores_of_pruned_weights_are_those_of_its_paper(registry):
    """de Jorge et al. (2021): |w * dL/dw'| at the pruned network w' = w * mask, of all weights. By
    hand: one linear layer, squared output on the input (1, 1, 1, 1) as loss: with w = (4, 3, 2, 1)
    the gradient is 2 * sum(kept) for each weight, the order is of |w|, and stays so."""

    @scores.register("force_like", revives=True, iterations=3, needs_data=False)
    def force(model, batch, mask):
        names = networks.prunable(model)
        pruned = {n: (model.get_parameter(n) * mask[n]).detach().requires_grad_() for n in names}
        loss = functional_call(model, pruned, torch.ones(1, 4)).square().sum()
        grads = torch.autograd.grad(loss, list(pruned.values()))
        found = zip(names, grads, strict=True)
        return {n: (model.get_parameter(n) * g).abs() for n, g in found}

    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    model[0].weight.data = torch.tensor([[4.0, 3, 2, 1]])
    half = {"0.weight": torch.tensor([[True, True, False, False]])}
    found = scores.score(model, "force_like", mask=half)["0.weight"]
    assert found.tolist() == [[4 * 14.0, 3 * 14.0, 2 * 14.0, 14.0]]  # of the pruned ones too
    assert masks.prune(model, "force_like", 0.5)["0.weight"].tolist() == half["0.weight"].tolist()


def test_one_that_revives_must_ask_for_the_mask(registry):
    with pytest.raises(BadValueError, match=r"'blind' lets pruned weights .* parameter 'mask'"):
        scores.register("blind", revives=True)(lambda model, batch: {})


# -------------------------------------------------------------------------------- training batches


def test_training_batches_are_of_the_settings_size_and_share_no_example():
    """lenet_digits has 1,297 examples, ten whole batches of 128 a pass."""
    found = datasets.training_batches("lenet_digits", seed=1, count=11)
    assert [tuple(x.shape) for x, _ in found] == [(128, 1, 8, 8)] * 11
    train = datasets.load("digits").train_examples(torch.arange(1297))[0].flatten(1)
    there = set(map(tuple, train.tolist()))
    rows = [row for x, _ in found[:10] for row in map(tuple, x.flatten(1).tolist())]
    assert there.issuperset(rows)  # not augmented
    assert len(set(rows)) >= 1280 - (1297 - len(there))
    same = datasets.training_batches("lenet_digits", seed=1, count=2)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(same, found, strict=False))
    other = datasets.training_batches("lenet_digits", seed=2)[0][0]
    assert not torch.equal(other, found[0][0])
    assert not torch.equal(found[10][0], found[0][0])


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_number_of_training_batches_is_a_whole_one(count):
    with pytest.raises(BadValueError, match=f"count={count!r}"):
        datasets.training_batches("lenet_digits", 0, count)


def test_a_method_of_training_batches_gets_as_many(registry):
    @scores.register("few", batches=2)
    def few(model, batch):
        assert [len(pair) for pair in batch] == [2, 2]
        model.train()
        weights = {n: model.get_parameter(n) for n in networks.prunable(model)}
        loss = sum(F.cross_entropy(model(x), y) for x, y in batch)
        grads = torch.autograd.grad(loss, weights.values())
        return {n: (w * g).abs() for (n, w), g in zip(weights.items(), grads, strict=True)}

    model = networks.build("lenet_8x8")
    batches = datasets.training_batches("lenet_digits", 0, 2)
    mask = masks.prune(model, "few", 0.9, batches)
    assert masks.sparsity_of(mask) == pytest.approx(0.9, abs=1e-5)
    for wrong in (None, batches[0], batches[:1], batches * 2):
        with pytest.raises(BadValueError, match=r"list of 2 training batches: .*training_batches"):
            masks.prune(model, "few", 0.9, wrong)


@pytest.mark.parametrize(
    "options", [{"batches": 0}, {"batches": 1.5}, {"batches": 2, "needs_data": False}]
)
def test_what_is_asked_of_training_batches_makes_sense(registry, options):
    with pytest.raises(BadValueError, match="batches="):
        scores.register("x", **options)


# ------------------------------------------------------------------------------------- whole masks


def test_a_method_may_give_a_whole_mask(registry):
    """Of 12 weights at sparsity 0.7, round(8.4) = 8 go; the function has what it asks for."""
    seen = []

    @masks.register("last_four", needs_data=False)
    def last_four(seed, sparsity, model):
        seen.append((seed, sparsity))
        model[0].weight.data.zero_()  # of its own copy
        return {"2.weight": torch.ones(2, 2) > 0, "0.weight": torch.zeros(2, 4) > 0}

    model = two_layers()
    mask = masks.prune(model, "last_four", 0.7, seed=3)
    assert seen == [(3, 0.7)]
    assert list(mask) == ["0.weight", "2.weight"]
    assert mask["2.weight"].all()
    assert not mask["0.weight"].any()
    assert model[0].weight.all()
    assert scores.get("last_four").kind == "mask"


def test_a_whole_mask_has_no_ranking(registry):
    masks.register("whole", needs_data=False)(lambda model, sparsity: masks.full(model))
    model = two_layers()
    start = masks.full(model)
    for options in ({"invert": True}, {"iterations": 2}, {"mask": start}):
        with pytest.raises(BadValueError, match="'whole' gives whole masks: it has no ranking"):
            masks.prune(model, "whole", 0.0, **options)
    with pytest.raises(BadValueError, match=r"'whole' gives whole masks.*use masks\.prune"):
        scores.score(model, "whole")
    with pytest.raises(BadValueError, match=r"'whole' gives whole masks.*inverted"):
        Run("lenet_digits", "smoke", "whole", 0.5, "invert")


BAD_MASKS = [
    (lambda mask: None, r"returned NoneType, expected a dict from .*networks\.prunable\(model\)"),
    (
        lambda mask: {"0.weight": mask["0.weight"]},
        r"mask the prunable weights: it lacks 2\.weight$",
    ),
    (lambda mask: mask | {"2.weight": [1, 1]}, r"masked 2\.weight with list, expected a tensor"),
    (lambda mask: mask | {"2.weight": torch.ones(4) > 0}, r"masked 2\.weight with shape \(4,\)"),
    (lambda mask: mask | {"2.weight": torch.ones(2, 2)}, r"numbers of type torch\.float32.* bool"),
    (lambda mask: mask, "kept 12 weights, at sparsity 0.5 it must keep 6"),
]


@pytest.mark.parametrize(("returned", "words"), BAD_MASKS)
def test_bad_masks_get_one_sentence(registry, returned, words):
    masks.register("bad", needs_data=False)(lambda model: returned(masks.full(model)))
    with pytest.raises(BadValueError, match=words) as error:
        masks.prune(two_layers(), "bad", 0.5)
    assert str(error.value).startswith("method 'bad' ")
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------ masks of densities


def kept(model, densities, sparsity, **options):
    names = networks.prunable(model)
    mask = masks.from_densities(
        model, dict(zip(names, densities, strict=True)), sparsity, **options
    )
    return [int(m.sum()) for m in mask.values()]


def test_densities_become_whole_numbers_by_the_largest_remainders():
    """Of 8 and 4 weights. 0.5 and 0.5: 4 + 2. At 5 of 12, 0.45 and 0.35 are 3.6 and 1.4: 3 and 1,
    the fifth goes to the larger remainder, 0.6. At 7, 0.6 and 0.55 are 4.8 and 2.2: 4 and 2, then
    5. Too many by one: at 5, 0.5 and 0.5 less one of equal remainders, the first's."""
    model = two_layers()
    assert kept(model, (0.5, 0.5), 0.5) == [4, 2]
    assert kept(model, (0.45, 0.35), 7 / 12) == [4, 1]
    assert kept(model, (0.6, 0.55), 5 / 12) == [5, 2]
    assert kept(model, (0.5, 0.5), 7 / 12) == [3, 2]
    assert kept(model, (1.0, 1.0), 0.0) == [8, 4]
    assert kept(model, (0.95, 1.0), 0.0) == [8, 4]  # a full layer gets no more
    assert kept(model, (0.0, 0.2), 11 / 12) == [0, 1]


def test_masks_of_densities_have_exactly_the_weights_of_remove():
    model = networks.build("resnet8_8x8")
    names = networks.prunable(model)
    for k, seed in itertools.product(range(1, 19), range(2)):
        sparsity = 1 - 0.8**k
        found = masks.from_densities(model, dict.fromkeys(names, 0.8**k), sparsity, seed)
        ranked = masks.prune(model, "random", sparsity, seed=seed)
        assert masks.kept(found) == masks.kept(ranked)
        for m in found.values():
            assert abs(int(m.sum()) - 0.8**k * m.numel()) < 1


def test_masks_of_densities_are_drawn_by_replicate_and_layer():
    model = networks.build("lenet_8x8")
    names = networks.prunable(model)
    first, again, other = (
        masks.from_densities(model, dict.fromkeys(names, 0.5), 0.5, seed)["layers.1.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert float((first & other).float().mean()) == pytest.approx(0.25, abs=0.01)  # independent
    assert float(first[:150].float().mean()) == pytest.approx(0.5, abs=0.02)  # from all of it


@pytest.mark.parametrize(
    ("densities", "sparsity", "words"),
    [
        ({"0.weight": 0.5}, 0.5, r"of the prunable weights: it lacks 2\.weight$"),
        ({"0.weight": 1.5, "2.weight": 0.5}, 0.5, r"density 1\.5 of 0\.weight is not in \[0, 1\]"),
        ({"0.weight": float("nan"), "2.weight": 0.5}, 0.5, "density nan"),
        (
            {"0.weight": 1.0, "2.weight": 1.0},
            0.5,
            r"keep 12 weights, at sparsity 0\.5 .* be 6",
        ),
        ({"0.weight": 1.0, "2.weight": 1.0}, 1.5, r"sparsity 1\.5"),
    ],
)
def test_densities_that_make_no_sense(densities, sparsity, words):
    with pytest.raises(BadValueError, match=words):
        masks.from_densities(two_layers(), densities, sparsity)


# --------------------------------------------------------------------------- what may be wrong


def test_a_method_that_gives_something_else_each_time_is_found(registry):
    state = {"calls": 0}

    @scores.register("counting", needs_data=False)
    def counting(model, batch):
        state["calls"] += 1
        return {n: z * state["calls"] for n, z in scores.magnitude(model).items()}

    @masks.register("alternating", needs_data=False)
    def alternating(model, sparsity):
        state["calls"] += 1
        return masks.prune(model, "random", sparsity, seed=state["calls"])

    for name in ("counting", "alternating"):
        with pytest.raises(BadValueError, match=f"'{name}' gives something else the second time"):
            masks.check(two_layers(), name)
    for name in ("random", "magnitude", "synflow"):
        model = networks.build("lenet_8x8")
        masks.check(model, name)


def test_what_methods_draw_from_numpy_and_python_depends_on_the_replicate(registry):
    """And what the caller draws from them does not change."""

    @scores.register("noisy", needs_data=False)
    def noisy(model, batch):
        factor = random.random()
        return {
            n: torch.from_numpy(np.random.rand(*z.shape)) * factor
            for n, z in scores.magnitude(model).items()
        }

    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    masks.check(two_layers(), "noisy")
    one, other = (scores.score(two_layers(), "noisy", seed=seed) for seed in (0, 1))
    assert not torch.equal(one["0.weight"], other["0.weight"])
    assert (random.random(), np.random.rand()) == expected


def test_a_method_that_asks_for_what_it_is_not_given_is_told_at_once(registry):
    words = "method 'mine' asks for 'loader', which methods are not given: ask for model, batch,"
    with pytest.raises(BadValueError, match=words):
        scores.register("mine")(lambda model, batch, loader: None)
    with pytest.raises(BadValueError, match="asks for 'mask'"):
        masks.register("mine")(lambda model, sparsity, mask: None)
    for function in (lambda model: None, lambda *, model, batch: None, max):
        with pytest.raises(BadValueError, match=r"'mine' cannot be called with \(model, batch\)"):
            scores.register("mine")(function)
    scores.register("mine")(lambda m, b, seed, sparsity, mask, rate=0.1, *more, **others: None)


def test_a_method_that_changes_its_batch_is_told(registry):
    @scores.register("scaling")
    def scaling(model, batch):
        batch[0].mul_(2)
        return scores.magnitude(model)

    batch = torch.ones(4, 2), torch.zeros(4, dtype=torch.long)
    with pytest.raises(BadValueError, match="'scaling' changes its batch in place"):
        masks.prune(two_layers(), "scaling", 0.5, batch)


def test_a_method_that_writes_into_the_mask_leaves_the_callers_as_it_is(registry):
    @scores.register("clearing", revives=True, needs_data=False)
    def clearing(model, batch, mask):
        for kept in mask.values():
            kept.zero_()
        return scores.magnitude(model)

    model = two_layers()
    whole = {
        n: torch.ones_like(model.get_parameter(n), dtype=bool) for n in networks.prunable(model)
    }
    assert masks.kept(masks.prune(model, "clearing", 0.5, mask=whole)) == 6
    assert masks.kept(whole) == 12


def test_batches_of_any_kind_are_taken(registry):
    """Several in a tuple, and tensors that count no changes."""
    scores.register("two", batches=2)(lambda model, batch: scores.magnitude(model))
    with torch.inference_mode():
        batch = torch.ones(4, 2), torch.zeros(4, dtype=torch.long)
    assert masks.kept(masks.prune(two_layers(), "two", 0.5, (batch, batch))) == 6


def failing(model, batch):
    raise KeyError("no such layer")


def test_an_exception_inside_shows_the_users_own_frames_alone(registry):
    scores.register("failing", needs_data=False)(failing)
    with pytest.raises(UserCodeError) as error:
        masks.prune(two_layers(), "failing", 0.5)
    assert str(error.value) == "method 'failing' raised KeyError: 'no such layer'"
    lines = error.value.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "in failing" in lines[1] or __file__ in lines[1]
    assert 'raise KeyError("no such layer")' in error.value.traceback
    assert lines[-1] == "KeyError: 'no such layer'"
    assert "prunelib/methods.py" not in error.value.traceback
    assert error.value._render_traceback_()[-1].endswith(str(error.value))


def test_sentences_of_the_package_pass_through_a_method(registry):
    scores.register("through", needs_data=False)(lambda m, b: scores.score(m, "snip"))
    with pytest.raises(PrunelibError, match="'snip' needs a scoring batch"):
        scores.score(two_layers(), "through")


# -------------------------------------------------------------------------------- names recorded


def test_a_changed_method_has_another_name_and_the_plain_one_means_the_newest(registry):
    keys = []
    for factor in (1, 2, 1):

        @scores.register("mine", needs_data=False)
        def mine(model, batch, factor=factor):
            return {n: factor * z for n, z in scores.magnitude(model).items()}

        keys.append(Run("lenet_digits", "smoke", "mine", 0.5).method)
        assert scores.get("mine").label == "mine"
        assert Curve("mine") == Curve.parse("mine") == Curve(keys[-1])
        assert str(Curve("mine", "shuffle")) == f"{keys[-1]}+shuffle"
    assert keys[0] == keys[2] != keys[1]
    assert Run("lenet_digits", "smoke", keys[1], 0.5).method == keys[1]


def test_how_a_method_is_registered_belongs_to_it(registry):
    keys = set()
    for options in ({}, {"prunes": "highest"}, {"iterations": 2}):
        scores.register("mine", needs_data=False, **options)(failing)
        keys.add(scores.get("mine").name)
    assert len(keys) == 3


def test_methods_of_the_package_keep_their_names():
    assert scores.get("snip").name == scores.get("snip").label == "snip"


# ------------------------------------------------------------- what belongs to a method's name


def cell(text):
    """The function `mine` of a notebook's cells."""
    namespace = {"__name__": "cells", "functools": functools}
    exec(textwrap.dedent(text), namespace)
    return namespace["mine"]


CELLS = """
import numpy, torch
K, unused, ALLOWED = 2, 5, {1, 2}
DTYPE, SCALES, SHIFTS = torch.float32, torch.tensor([1.0, 2.0]), numpy.arange(3)
def helper(x):
    return x + 1
def twice(function):
    @functools.wraps(function)
    def wrapper(*given):
        return 2 * function(*given)
    return wrapper
@twice
def mine(model, levels=(1, helper)):
    scales = SCALES.to(DTYPE).numpy() + SHIFTS[0]
    return [helper(k) * K * scales for k in levels if k in ALLOWED]
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("2, 5, {", "2, 6, {", True),
        ("K, unused, ALLOWED = 2", "K, unused, ALLOWED = 3", False),
        ("{1, 2}", "{2, 1}", True),
        ("{1, 2}", "{1, 3}", False),
        ("x + 1", "x + 2", False),  # a helper
        ("2.0]", "2.5]", False),  # a tensor
        ("arange(3)", "arange(4)", False),
        ("2 * function", "3 * function", False),  # a decorator
        ("helper(k) *", "helper(k) +", False),
        ("(1, helper)", "(2, helper)", False),
    ],
)
def test_what_a_method_uses_belongs_to_its_digest(old, new, same):
    assert old in CELLS
    before, again, after = (cell(t) for t in (CELLS, CELLS, CELLS.replace(old, new)))
    assert provenance.digest(before) == provenance.digest(again)
    assert (provenance.digest(before) == provenance.digest(after)) == same


OBJECTS = """
import argparse
class Slotted:
    __slots__ = ("beta",)
class Mine:
    gamma = 5
    def __init__(self, alpha):
        self.alpha = alpha
        self.me = [self, self]
        self.slotted = Slotted()
        self.slotted.beta = 7
    @property
    def delta(self):
        return 8
    @classmethod
    def epsilon(cls):
        return 9
    def __call__(self, model, batch):
        return self.alpha
    def score(self, model, batch):
        return self.alpha * OPTIONS.factor
OPTIONS = argparse.Namespace(factor=2)
mine = Mine(1)
"""


@pytest.mark.parametrize(
    "last",
    ["mine = Mine(1)", "mine = Mine(1).score", "mine = functools.partial(Mine.score, Mine(1))",
     "mine = functools.partial(Mine.score, Mine(3), batch=Mine(1))"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Mine(1)", "Mine(-1)"),
        ("return self.alpha\n", "return 2\n"),
        ("factor=2", "factor=3"),
        ("gamma = 5", "gamma = 6"),
        ("beta = 7", "beta = 6"),
        ("return 8", "return 6"),
        ("return 9", "return 6"),
    ],
)
def test_what_an_object_holds_belongs_to_its_digest(last, old, new):
    """Whether it is called, or a method of it is."""
    text = OBJECTS.replace("mine = Mine(1)", last)
    before, again, after = (cell(t) for t in (text, text, text.replace(old, new)))
    assert provenance.digest(before) == provenance.digest(again)
    assert provenance.digest(before) != provenance.digest(after)


def test_a_function_of_the_package_under_another_name_is_ones_own(registry):
    names = []
    for iterations in (3, 5):
        scores.register("snip_again", iterations=iterations)(scores.snip)
        names.append(scores.get("snip_again").name)
    assert names[0] != names[1]
    assert all(re.fullmatch("snip_again_[0-9a-f]{8}", name) for name in names)
    assert scores.get("snip").name == "snip"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: {}, "0.weight"),
        (lambda mask: {"0.weight": mask["0.weight"]}, "2.weight"),
        (lambda mask: {n: m.float() for n, m in mask.items()}, r"torch.float32 \(2, 4\), expected"),
        (lambda mask: mask | {"2.weight": mask["0.weight"]}, r"\(2, 4\), expected .*\(2, 2\)"),
        (lambda mask: mask | {"2.weight": None}, "2.weight is None"),
    ],
)
def test_a_mask_of_another_network_cannot_be_pruned_further(change, words):
    model = two_layers()
    with pytest.raises(BadValueError, match=words):
        masks.prune(model, "magnitude", 0.5, mask=change(masks.full(model)))


@pytest.mark.parametrize(("apart", "found"), [(0.01, True), (1e-5, False)])
def test_rounding_may_differ_the_second_time_and_a_hundredth_may_not(registry, apart, found):
    """By so much of the largest score; of so many weights of a mask, here 50,000."""
    state = {"calls": 0}

    @scores.register("drifting", needs_data=False)
    def drifting(model, batch):
        state["calls"] += 1
        return {n: z + state["calls"] * apart for n, z in flat(model).items()}

    @masks.register("wandering", needs_data=False)
    def wandering(model, sparsity):
        state["calls"] += 1
        moved = round(apart * 50_200) // 2 * (state["calls"] % 2)
        mask = torch.arange(50_200) < 25_100
        mask[:moved], mask[25_100 : 25_100 + moved] = False, True
        parts = mask.split([w.numel() for w in flat(model).values()])
        return {n: m.view_as(w) for (n, w), m in zip(flat(model).items(), parts, strict=True)}

    def flat(model):  # the largest is 1
        return {n: torch.ones_like(model.get_parameter(n)) for n in networks.prunable(model)}

    for name in ("drifting", "wandering"):
        refused = pytest.raises(BadValueError, match="something else the second time")
        with refused if found else contextlib.nullcontext():
            masks.check(networks.build("lenet_8x8"), name)


def test_methods_that_draw_do_not_share_their_draws(registry):
    """And what they return has no graph behind it."""

    def drawn(model, batch):
        return {n: torch.rand_like(w) * w for n, w in model.named_parameters() if w.dim() == 2}

    for name in ("one", "other"):
        scores.register(name, needs_data=False)(drawn)
    model = two_layers()
    found, again, apart = (scores.score(model, name) for name in ("one", "one", "other"))
    assert torch.equal(found["0.weight"], again["0.weight"])
    assert not torch.equal(found["0.weight"], apart["0.weight"])
    assert not found["0.weight"].requires_grad


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (3, "a pair of tensors"),
        ((torch.ones(2, 1, 8, 8),), "a pair of tensors"),
        ((torch.ones(0, 1, 8, 8), torch.ones(0)), "as many targets"),
        ((torch.ones(2, 1, 8, 8), torch.ones(3)), "as many targets"),
        ((torch.ones(2, 1, 9, 8), torch.ones(2)), r"\(1, 9, 8\), the network takes \(1, 8, 8\)"),
    ],
)
def test_batches_that_are_none(batch, words):
    with pytest.raises(BadValueError, match=words):
        scores.score(networks.build("lenet_8x8"), "snip", batch)
