"""Facts: against numbers known from elsewhere, and wrong where what they look at is wrong."""

import inspect
import math
from dataclasses import replace

import pytest
import torch

from prunelib import analysis, datasets, masks, networks, scores, settings
from prunelib.datasets import loaders
from prunelib.datasets.dataset import FolderDataset
from prunelib.errors import BadValueError
from prunelib.findings import claims, facts
from prunelib.findings.facts import FACTS, architectures, flow, identities, recorded


@pytest.fixture
def wrong(monkeypatch):
    """Gives a method of pruning another score, or other properties, for one test."""

    def change(method, **changes):
        changed = replace(scores.METHODS[method], **changes)
        monkeypatch.setitem(scores.METHODS, method, changed)

    return change


def squared(model, batch=None):
    """Scores of a method that nobody proposed."""
    weights = {name: model.get_parameter(name) for name in networks.prunable(model)}
    return {name: w.detach().double() ** 2 for name, w in weights.items()}


def test_every_fact_says_what_it_is_about():
    for name, fact in FACTS.items():
        function = getattr(fact, "func", fact)
        assert function.__doc__, name


@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        ("layers on the main path", "resnet20_cifar10", 20),
        ("layers on the main path", "vgg16_cifar10", 14),
        ("layers on the main path", "resnet50_imagenet", 50),
        ("shortcuts with weights", "resnet18_tinyimagenet", 3),
        ("downsampling blocks without a convolution", "resnet50_imagenet", 0),
        ("shortcuts that are not 1x1", "resnet20_cifar10", 0),
        ("units of the first hidden layer", "lenet_mnist", 300),
        ("units of the second hidden layer", "lenet_mnist", 100),
        ("hidden linear layers", "lenet_mnist", 2),
        ("linear layers", "vgg2_16_cifar10", 2),
        ("channels of convolutions", "vgg16_cifar10", 2 * 64 + 2 * 128 + 3 * 256 + 6 * 512),
        ("layers of 2x2 max pooling", "vgg16_cifar10", 4),
        ("layers of 2x2 max pooling", "resnet18_tinyimagenet", 0),  # its one is 3x3
        ("layers of max pooling", "resnet18_tinyimagenet", 1),
        ("layers of max pooling", "modified_resnet18_tinyimagenet", 0),
        ("convolutions that are not 3x3", "resnet18_tinyimagenet", 1 + 3),
        ("convolutions without batch norm", "resnet50_imagenet", 0),
        ("relus not behind batch norm", "vgg16_cifar10", 0),
        ("relus not behind batch norm", "vgg2_16_cifar10", 1),  # of the hidden linear layer
        ("side of the first filter", "resnet50_imagenet", 7),
        ("stride of the first convolution", "resnet18_tinyimagenet", 2),
        ("stride of the first convolution", "modified_resnet18_tinyimagenet", 1),
        ("widening factor", "wrn_14_10_cifar10", 10),
        ("classes", "resnet18_tinyimagenet", 200),
        ("values of an input", "resnet20_cifar10", 32 * 32 * 3),
        ("side of an input", "resnet50_imagenet", 224),
        ("batches in an epoch", "lenet_mnist", 468.75),
        ("batches in an epoch", "resnet50_imagenet", 1_281_167 / 1024),
        ("passes over the data", "lenet_mnist", 40 * 469 / 468.75),
        ("passes before the first drop", "resnet20_cifar10", 80 * 391 / 390.625),
        ("passes before the first drop", "resnet18_tinyimagenet", 100 * 391 / 390.625),
        ("passes before the last drop", "resnet20_cifar10", 120 * 391 / 390.625),
        ("passes before the last drop", "resnet50_imagenet", 80 * 1251 * 1024 / 1_281_167),
        ("highest learning rate over the last", "lenet_mnist", 1),
        ("highest learning rate over the last", "resnet50_imagenet", 1000),
        ("early methods without data", "lenet_mnist", 2),
        ("rounds of iterative_snip", "lenet_mnist", 100),
        ("rounds of random", "lenet_mnist", 0),  # it looks at no example
        ("rounds of grasp", "lenet_mnist", 1),
        ("largest shift", "vgg16_cifar10", 4),
        ("weight left by equation 4", "lenet_mnist", 2),  # w - (-w)
        ("score over effect on gradient flow", "lenet_mnist", 0.5),  # Equation 3 has the factor 2
        ("highest sparsity of figure 7", "vgg11_cifar10", 100 * (1 - 0.5**10)),
        ("table 2 unpruned difference", "vgg16_cifar10", 93.6 - 91.7),
        ("table 2 pruned over unpruned distance", "vgg2_16_cifar10", 0.6 / 0.3),
        ("table 2 highest change of the drop", "wrn_14_8_cifar10", -1.8 + 0.4),
        ("table 3 lowest pruned difference", "resnet50_imagenet", 73.9 - 74.0),
        ("table 3 largest pruned distance", "vgg19_cifar10", 0.1),  # without what diverged
        ("table 5 drops off their difference", "resnet50_imagenet", 6.0 - (75.7 - 72.0)),
        ("table 5 highest pruned difference", "resnet50_imagenet", 73.4 - 74.0),
        ("table 5 largest distance of the drops", "wrn_32_2_cifar10", 0.2),
        ("table 7 replicated accuracy", "modified_resnet18_cifar10_tanaka", 93.7),
        ("sparsities of the raw results", "vgg11_cifar10", 13),
        ("last raw lead of synflow", "modified_resnet18_cifar10", 79.85 - 78.65),
        ("last raw accuracy of snip", "vgg16_cifar10", 76.253),
        ("last raw accuracy of magnitude over chance", "modified_resnet18_tinyimagenet", 1),
        ("largest printed ratio when matching", "vgg16_cifar10", 1.0026),
        ("largest printed ratio at the highest", "vgg16_cifar10", 1.0353),
        ("median printed ratio when matching", "vgg16_cifar10", 1.00005),
    ],
)
def test_a_fact_is_what_is_known_from_elsewhere(name, setting, expected):
    assert FACTS[name](setting) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("network", "classes", "total"),
    [("resnet18", 200, 11_689_512 - 800 * 513), ("resnet50", 1000, 25_557_032)],
)
def test_torchvisions_own_number_of_parameters(network, classes, total):
    name = next(n for n, s in settings.SETTINGS.items() if s.network == network)
    own = sum(p.numel() for p in networks.build(network).parameters())
    assert (own, FACTS["classes"](name)) == (total, classes)
    assert FACTS["parameters beyond torchvision"](name) == 0


def test_a_parameter_more_than_torchvisions_is_counted(monkeypatch):
    model = networks.build("resnet18")
    model.extra = torch.nn.Parameter(torch.zeros(3))
    monkeypatch.setattr(architectures, "_meta", lambda setting: model)
    assert FACTS["parameters beyond torchvision"]("resnet18_tinyimagenet") == 3


def test_the_output_layer_of_lenet_has_few_weights():
    expected = 1000 / ((784 * 300 + 300 * 100 + 1000) / 3)
    assert FACTS["output weights over a mean layer"]("lenet_mnist") == pytest.approx(expected)


def test_a_block_that_downsamples_without_a_convolution_is_counted(monkeypatch):
    model = networks.build("resnet18")
    model.layer3[0].downsample = torch.nn.AvgPool2d(2)
    model.layer4[0].downsample = None
    monkeypatch.setattr(architectures, "_meta", lambda setting: model)
    assert FACTS["downsampling blocks without a convolution"]("resnet18_tinyimagenet") == 2


def test_a_convolution_that_no_batch_norm_follows_is_counted(monkeypatch):
    conv, norm = torch.nn.Conv2d(1, 1, 3), torch.nn.BatchNorm2d(1)
    model = torch.nn.Sequential(conv, norm, conv, torch.nn.ReLU(), torch.nn.Conv2d(1, 1, 3))
    monkeypatch.setattr(architectures, "_meta", lambda setting: model)
    assert FACTS["convolutions without batch norm"]("lenet_mnist") == 1  # modules count once
    assert FACTS["relus not behind batch norm"]("lenet_mnist") == 0


# ---- first weights


def test_weights_of_another_deviation_or_distribution_are_found(monkeypatch):
    assert FACTS["deviations off he"]("lenet_mnist") < 4
    assert FACTS["kurtosis of the weights"]("lenet_mnist") < 4
    model = networks.build("lenet")
    model.layers[1].weight.data *= 1.1
    torch.nn.init.kaiming_uniform_(model.layers[2].weight, nonlinearity="relu")
    monkeypatch.setattr(architectures, "drawn", lambda setting: model)
    # a tenth of a standard deviation, of which 1 / sqrt(2 n) is the standard error
    expected = 0.1 * math.sqrt(2 * 30_000)
    assert FACTS["deviations off he"]("lenet_mnist") == pytest.approx(expected, rel=0.1)
    assert FACTS["kurtosis of the weights"]("lenet_mnist") > 4


def test_gammas_that_are_one_are_not_uniform(monkeypatch):
    assert FACTS["gammas off uniform"]("resnet20_cifar10") < 1.63
    model = networks.build("resnet20")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_parameters()
    monkeypatch.setattr(architectures, "drawn", lambda setting: model)
    assert FACTS["gammas off uniform"]("resnet20_cifar10") > 20


def test_the_variances_give_the_proportions_of_magnitude_pruning():
    found = architectures.proportions_from_variances("lenet_mnist", 0.8)
    mask = masks.prune(networks.build("lenet", seed=3), "magnitude", 0.8)
    for name, sparsity in analysis.layerwise(mask).items():
        spread = math.sqrt(sparsity * (1 - sparsity) / mask[name].numel())
        assert found[name] == pytest.approx(sparsity, abs=4 * spread + 0.002)
    sizes = {name: m.numel() for name, m in mask.items()}
    assert sum(found[n] * sizes[n] for n in sizes) / sum(sizes.values()) == pytest.approx(0.8)


def test_proportions_from_the_fan_out_are_those_of_the_network_turned_around():
    into, out = (
        architectures.proportions_from_variances("lenet_mnist", settings.sparsity(12), fan)
        for fan in ("in", "out")
    )
    # One threshold for all layers: weights over their deviation, the root of the fan, tell it.
    for found, fans in ((into, (784, 300, 100)), (out, (300, 100, 10))):
        cuts = [
            torch.erfinv(torch.tensor(share, dtype=torch.float64)).item() / math.sqrt(fan)
            for share, fan in zip(found.values(), fans, strict=True)
        ]
        assert cuts == pytest.approx([cuts[0]] * 3, rel=1e-6)
    moved = 100 * sum(abs(out[name] - into[name]) for name in into) / 3
    assert FACTS["proportions from the fan out"]("lenet_mnist") == pytest.approx(moved)


# ---- data and schedules


def test_sizes_and_augmentation_are_those_of_the_datasets():
    for name in ("digits", "shifted_digits"):
        data = datasets.load(name)
        assert datasets.SIZES[name] == (data.train_size, data.test_size)
        assert facts.procedure.AUGMENTATION[name] == data.augmentation
    tiny = inspect.signature(loaders.LOADERS["tinyimagenet"]).parameters["augmentation"].default
    assert facts.procedure.AUGMENTATION["tinyimagenet"] == tiny
    modified = loaders.LOADERS["modified_tinyimagenet"].keywords["augmentation"]
    assert facts.procedure.AUGMENTATION["modified_tinyimagenet"] == modified
    assert facts.procedure.AUGMENTATION["imagenet"] == FolderDataset.augmentation
    assert set(facts.procedure.AUGMENTATION) == set(datasets.SIZES) == set(loaders.LOADERS)


def test_as_many_examples_as_are_really_scored():
    _, targets = datasets.scoring_batch("lenet_digits")
    assert FACTS["scored examples"]("lenet_digits") == len(targets) == 100
    assert FACTS["scored examples"]("resnet50_imagenet") == 10_000


def test_augmentation_that_draws_otherwise_is_found(monkeypatch):
    assert FACTS["share of mirrored images"]("resnet20_cifar10") == pytest.approx(50, abs=1.5)
    assert FACTS["narrowest patch"]("resnet50_imagenet") == pytest.approx(0.8, abs=0.005)
    assert FACTS["widest patch"]("resnet50_imagenet") == pytest.approx(1.25, abs=0.005)
    assert FACTS["smallest patch"]("resnet50_imagenet") == pytest.approx(0.1, abs=0.005)
    assert FACTS["largest patch"]("resnet50_imagenet") == pytest.approx(1, abs=0.02)
    facts.procedure._augmented.cache_clear()
    monkeypatch.setattr(facts.procedure.augment, "ASPECT", (0.75, 4 / 3))
    monkeypatch.setattr(facts.procedure.augment, "SCALE", (0.08, 0.5))
    monkeypatch.setattr(facts.procedure.augment, "PADDING", {"crop": 3})
    try:
        assert FACTS["narrowest patch"]("resnet50_imagenet") == pytest.approx(0.75, abs=0.005)
        assert FACTS["widest patch"]("resnet50_imagenet") == pytest.approx(4 / 3, abs=0.005)
        assert FACTS["smallest patch"]("resnet50_imagenet") == pytest.approx(0.08, abs=0.005)
        assert FACTS["largest patch"]("resnet50_imagenet") == pytest.approx(0.5, abs=0.005)
        assert FACTS["largest shift"]("resnet20_cifar10") == 3
    finally:
        facts.procedure._augmented.cache_clear()


def test_another_schedule_gives_other_numbers(monkeypatch):
    changed = replace(settings.SETTINGS["resnet20_cifar10"], epochs=10, drops=(4,), drop_factor=0.5)
    monkeypatch.setitem(settings.SETTINGS, "resnet20_cifar10", changed)
    per_epoch = 391 * 128 / 50_000
    for name, expected in {
        "passes over the data": 10 * per_epoch,
        "passes before the first drop": 4 * per_epoch,
        "highest learning rate over the last": 2,
    }.items():
        assert FACTS[name]("resnet20_cifar10") == pytest.approx(expected)


# ---- the procedure of pruning


def test_rounds_are_those_that_a_method_scores_in(wrong):
    wrong("synflow", iterations=7)
    assert FACTS["rounds of synflow"]("lenet_mnist") == 7


def test_a_method_that_needs_no_data_is_counted(wrong):
    wrong("snip", function=squared, needs_data=False)
    assert FACTS["early methods without data"]("lenet_mnist") == 3


def test_a_mask_that_misses_its_sparsity_is_found(monkeypatch):
    assert FACTS["weights off the sparsity"]("lenet_mnist") <= 0.5
    remove = masks.remove
    monkeypatch.setattr(masks, "remove", lambda z, s: remove(z, s + 2 / 266_200))
    assert FACTS["weights off the sparsity"]("lenet_mnist") == pytest.approx(2, abs=0.51)


def test_the_printed_formula_would_let_sparsity_fall():
    # the least fall is the last of the hundred: s - s^0.99, of the sparsity 1 - 0.8^6
    s = 1 - 0.8**6
    assert FACTS["rise by the printed formula"]("resnet20_cifar10") == pytest.approx(
        100 * (s - s**0.99), abs=1e-4
    )


def test_iterations_that_prune_unevenly_are_found(monkeypatch):
    assert FACTS["unevenness of iterations"]("lenet_mnist") < 1e-3
    prune = masks.flow.prune

    def late(model, mask, left, seed):
        total = sum(m.numel() for m in mask.values())
        later = [n if n < 0.07 * total else total - round(0.9 * (total - n)) for n in left]
        return prune(model, mask, later, seed)

    monkeypatch.setattr(masks.flow, "prune", late)
    assert FACTS["unevenness of iterations"]("lenet_mnist") > 0.05


def test_random_pruning_that_prefers_a_layer_is_found(wrong):
    assert FACTS["random layers beyond chance"]("lenet_mnist") < 4

    def partial(model, batch=None):
        z = {n: torch.rand(model.get_parameter(n).shape) for n in networks.prunable(model)}
        return z | {"layers.1.weight": 0.95 * z["layers.1.weight"]}

    wrong("random", function=partial)
    assert FACTS["random layers beyond chance"]("lenet_mnist") > 4


# ---- identities


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("snip off coefficients", "snip"),
        ("snip off activations", "snip"),
        ("grasp off differences", "grasp"),
        ("synflow off losses", "synflow"),
        ("scores not conserved", "synflow"),
        ("gradients off sums over paths", "synflow"),
        ("layers off the path norm", "synflow"),
        ("scores off the derivative of the path norm", "synflow"),
        ("spread of scores over effects", "grasp"),
    ],
)
def test_an_identity_holds_and_fails_for_another_score(name, method, wrong):
    bound = 1e-3 if method == "grasp" else 1e-9
    assert FACTS[name]("lenet_digits") < bound
    identities._effects.cache_clear()
    wrong(method, function=squared)
    try:
        assert FACTS[name]("lenet_digits") > 0.1
    finally:
        identities._effects.cache_clear()


@pytest.mark.parametrize("name", ["scores not conserved", "synflow off losses"])
def test_an_identity_of_convolutions_fails_for_another_score(name, wrong):
    assert FACTS[name]("resnet8_digits") < 1e-9
    wrong("synflow", function=squared)
    assert FACTS[name]("resnet8_digits") > 0.1


def test_the_limits_of_gradient_flow_are_those_of_a_quadratic(monkeypatch):
    # L = w'Aw / 2 with g = Aw and H = A: all that Equations 1 to 3 speak of is known exactly
    a, w = torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double(), torch.tensor([1.0, -2.0]).double()
    g = a @ w
    known = identities.Flow(
        lambda weights: weights["w"] @ a @ weights["w"] / 2, {"w": w}, {"w": g}, {"w": a @ g}
    )
    monkeypatch.setattr(identities, "_flow", lambda setting: known)
    names = ("gradient flow off its limit", "loss saved off its limit")
    for name in (*names, "perturbation off equation 3"):
        assert FACTS[name]("lenet_mnist") < 1e-5
    assert FACTS["loss after a step along the gradient"]("lenet_mnist") == pytest.approx(1e-6)
    slope = float(2 * g @ a @ torch.tensor([1.0, 0.0]).double())
    assert known.slope({"w": torch.tensor([1.0, 0.0]).double()}) == pytest.approx(slope, rel=1e-5)
    for wrong_ in (replace(known, gradient={"w": 2 * g}), replace(known, gradient={"w": -g})):
        monkeypatch.setattr(identities, "_flow", lambda setting, flow=wrong_: flow)
        assert FACTS["gradient flow off its limit"]("lenet_mnist") > 0.4
        assert FACTS["loss saved off its limit"]("lenet_mnist") > 0.4
    monkeypatch.setattr(identities, "_flow", lambda s: replace(known, product={"w": a @ g / 2}))
    assert FACTS["perturbation off equation 3"]("lenet_mnist") == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "method", "turned"),
    [
        ("snip kept below a pruned score", "snip", "highest"),
        ("grasp kept above a pruned score", "grasp", "lowest"),
    ],
)
def test_weights_pruned_from_the_wrong_end_are_counted(name, method, turned, wrong):
    assert FACTS[name]("lenet_digits") == 0
    wrong(method, prunes=turned)
    assert FACTS[name]("lenet_digits") > 1000


def test_paths_are_counted_as_a_list_of_them_says(monkeypatch):
    # two inputs, two hidden neurons, one output: four paths
    layers = [torch.tensor([[1.0, 2.0], [3.0, 0.5]]), torch.tensor([[2.0, 1.0]])]
    monkeypatch.setattr(flow, "chain", lambda setting: layers)
    sums, norm = flow._sums_over_paths("any")
    assert norm == 2 * 1 + 2 * 2 + 1 * 3 + 1 * 0.5
    assert sums[0].tolist() == [[2, 2], [1, 1]]
    assert sums[1].tolist() == [[1 + 2, 3 + 0.5]]
    assert float(flow._path_norm(layers)) == norm
    assert FACTS["losses off the derivative of the path norm"]("any") < 1e-6
    monkeypatch.setattr(flow, "_derivatives", lambda s: [w * 2 for w in layers])
    assert FACTS["losses off the derivative of the path norm"]("any") > 0.1


def test_the_lowest_score_costs_the_path_norm_least_and_the_highest_most(wrong):
    assert FACTS["loss by the lowest score over the least"]("lenet_digits") == pytest.approx(1)
    assert FACTS["loss by the highest score over the least"]("lenet_digits") > 1000
    wrong("synflow", function=lambda m, b=None: {n: -z for n, z in squared(m).items()})
    assert FACTS["loss by the lowest score over the least"]("lenet_digits") > 1000


def test_rescaling_changes_what_is_not_invariant(monkeypatch):
    names = ("path norm off under rescaling", "output off under rescaling")
    assert all(FACTS[name]("lenet_digits") < 1e-9 for name in names)
    # with biases the output does change
    monkeypatch.setattr(flow, "_without_biases", identities.double_network)
    model = identities.double_network("lenet_digits")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    try:
        assert FACTS["output off under rescaling"]("lenet_digits") > 1e-3
    finally:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(before[name])
    monkeypatch.setattr(flow, "_path_norm", lambda layers: layers[0].sum())
    assert FACTS["path norm off under rescaling"]("lenet_digits") == pytest.approx(2)


def test_signs_of_scores_and_preactivations_are_counted(wrong, monkeypatch):
    assert FACTS["scores that are not positive"]("lenet_digits") == 0
    assert FACTS["preactivations that are not positive"]("resnet8_digits") == 0
    wrong("synflow", function=lambda m, b=None: {n: z * 0 for n, z in squared(m).items()})
    assert FACTS["scores that are not positive"]("lenet_digits") == 64 * 300 + 300 * 100 + 1000
    model = networks.build("lenet_8x8").double()
    for p in model.parameters():
        p.data.fill_(-1.0)
    monkeypatch.setattr(flow, "_absolute", lambda setting, biases: model)
    assert FACTS["preactivations that are not positive"]("lenet_digits") == 300 + 100 + 10


def test_neighbours_of_pruned_weights_lose_gradient_and_go_next(wrong):
    assert FACTS["rise of gradients after pruning"]("lenet_digits") < 0
    assert FACTS["rate of pruning after neighbours"]("lenet_mnist") > 1.1
    # a score that does not look at the rest of the network has no neighbours
    wrong("synflow", function=squared)
    assert FACTS["rise of gradients after pruning"]("lenet_digits") == pytest.approx(0)
    assert FACTS["rate of pruning after neighbours"]("lenet_mnist") == pytest.approx(1, abs=0.05)


def test_only_scores_that_see_the_rest_keep_a_last_path(wrong):
    assert FACTS["weights of the last path"]("lenet_digits") == 1
    wrong("synflow", function=squared)
    assert FACTS["weights of the last path"]("lenet_digits") < 1


def test_single_precision_ends_where_the_product_of_the_layers_does():
    # He's deviation sqrt(2 / n): a neuron adds up n terms of mean sqrt(2 / n) sqrt(2 / pi), times
    # a gamma of one half in the mean; a block multiplies what goes in by one such product of two
    # layers, plus one for its shortcut. The border of the image lowers it a little.
    def growth(fan):
        return 0.5 * math.sqrt(fan) * 2 / math.sqrt(math.pi)

    def size(depth):
        n = (depth - 2) // 6
        stages = sum(n * math.log10(1 + growth(9 * 16 * 2**s) ** 2) for s in range(3))
        return stages + math.log10(growth(27)) + math.log10(growth(64) * 10)

    found = FACTS["deepest resnet in single precision"]("resnet20_cifar10")
    largest = math.log10(torch.finfo(torch.float32).max)
    assert size(found - 6) < largest < size(found + 12)


def test_connected_weights_are_those_a_search_finds(monkeypatch):
    name = "weights misjudged by their gradient"
    assert FACTS[name]("lenet_digits") == 0
    monkeypatch.setattr(analysis, "effective", lambda model, mask: mask)
    assert FACTS[name]("lenet_digits") > 0


@pytest.mark.parametrize(
    ("name", "setting", "complaint"),
    [
        ("gradients off sums over paths", "resnet20_cifar10", "linear layers"),
        ("gammas off uniform", "lenet_mnist", "batch norm"),
        ("convolutions without batch norm", "lenet_mnist", "convolutions"),
        ("shortcuts that are not 1x1", "vgg16_cifar10", "shortcuts"),
        ("downsampling blocks without a convolution", "vgg16_cifar10", "skip connections"),
        ("largest shift", "lenet_mnist", "not augmented"),
        ("largest shift", "resnet50_imagenet", "resized_crop"),
        ("smallest patch", "vgg16_cifar10", "crop"),
        ("table 2 unpruned difference", "lenet_mnist", "Table 2"),
        ("sparsities of the raw results", "lenet_mnist", "raw results"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(name, setting, complaint):
    with pytest.raises(BadValueError, match=complaint):
        FACTS[name](setting)


# Which depth single precision can carry hangs on how a machine adds.
EXACT = [pair for pair in claims.facts() if pair[0] != "deepest resnet in single precision"]


def test_every_fact_is_recorded_as_it_is_computed():
    """The ledger reads the file, and a notebook shows what the ledger says: neither would notice
    that the code says something else."""
    assert set(recorded._known()) == set(claims.facts())
    wrong = {}
    for fact, setting in EXACT:
        found, said = FACTS[fact](setting), recorded._known()[fact, setting]
        if found != pytest.approx(said, rel=1e-4, abs=1e-6):
            wrong[fact, setting] = found, said
    assert not wrong
