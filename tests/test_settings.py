"""Settings against the tables and footnotes of the paper, typed in from its text."""

import math

import pytest

from prunelib import datasets, networks, settings
from prunelib.errors import UnknownNameError

# Appendix A.3, "—" as 0: epochs, batch, momentum, learning rate, drops, weight decay,
# iterations an epoch, rewinding iteration.
APPENDIX_A3 = {
    "lenet_mnist": (40, 128, 0.0, 0.1, (), 0.0, 469, 0),
    "resnet20_cifar10": (160, 128, 0.9, 0.1, (80, 120), 1e-4, 391, 1000),
    "vgg16_cifar10": (160, 128, 0.9, 0.1, (80, 120), 1e-4, 391, 2000),
    "resnet18_tinyimagenet": (200, 256, 0.9, 0.2, (100, 150), 1e-4, 391, 1000),
    "modified_resnet18_tinyimagenet": (200, 256, 0.9, 0.2, (100, 150), 1e-4, 391, 1000),
    "resnet50_imagenet": (90, 1024, 0.9, 0.4, (30, 60, 80), 1e-4, 1251, 6255),
}
NETWORK_AND_DATASET = {
    "lenet_mnist": ("lenet", "mnist"),
    "resnet20_cifar10": ("resnet20", "cifar10"),
    "vgg16_cifar10": ("vgg16", "cifar10"),
    "resnet18_tinyimagenet": ("resnet18", "tinyimagenet"),
    "modified_resnet18_tinyimagenet": ("modified_resnet18", "modified_tinyimagenet"),
    "resnet50_imagenet": ("resnet50", "imagenet"),
}
APPENDICES_B_TO_D = {
    "vgg2_16_cifar10", "wrn_14_8_cifar10", "wrn_14_10_cifar10", "wrn_20_8_cifar10",
    "vgg19_cifar10", "wrn_32_2_cifar10", "vgg11_cifar10", "modified_resnet18_cifar10",
}  # fmt: skip
TABLE_7 = {"modified_resnet18_cifar10_tanaka", "modified_resnet18_tinyimagenet_tanaka"}
EXAMPLES_AND_SHAPE = {
    "mnist": (60_000, (1, 28, 28)),
    "cifar10": (50_000, (3, 32, 32)),
    "tinyimagenet": (100_000, (3, 64, 64)),
    "modified_tinyimagenet": (100_000, (3, 64, 64)),
    "imagenet": (1_281_167, (3, 224, 224)),
    "digits": (1_297, (1, 8, 8)),
    "shifted_digits": (1_297, (1, 8, 8)),
}


@pytest.mark.parametrize("name", APPENDIX_A3)
def test_row_of_appendix_a3(name):
    s = settings.get(name)
    assert (
        s.epochs, s.batch_size, s.momentum, s.learning_rate, s.drops, s.weight_decay,
        s.iterations_per_epoch, s.rewind_step,
    ) == APPENDIX_A3[name]  # fmt: skip
    assert s.name == name
    assert (s.network, s.dataset) == NETWORK_AND_DATASET[name]
    assert s.drop_factor == 0.1  # "10x at epochs"
    for profile in ("paper", "quick"):
        t = settings.schedule(name, profile)
        assert (
            t.batch_size, t.momentum, t.learning_rate, t.weight_decay, t.iterations_per_epoch,
            t.drop_factor,
        ) == (*[APPENDIX_A3[name][k] for k in (1, 2, 3, 5, 6)], 0.1)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("resnet8_digits", (40, 64, 0.9, 0.1, (20, 30), 1e-4, 21, 21)),
        ("lenet_digits", (40, 128, 0.0, 0.1, (), 0.0, 11, 0)),
    ],
)
def test_the_miniatures_are_as_their_results_were_trained(name, row):
    """In the columns of Appendix A.3. To change one is to make every record of it wrong."""
    s = settings.get(name)
    assert (
        s.epochs, s.batch_size, s.momentum, s.learning_rate, s.drops, s.weight_decay,
        s.iterations_per_epoch, s.rewind_step,
    ) == row  # fmt: skip
    assert (s.drop_factor, s.warmup_epochs, s.replicates, s.highest) == (0.1, 0, 5, 18)


def test_the_settings_are_those_of_the_paper_and_the_miniatures():
    paper = set(APPENDIX_A3) | APPENDICES_B_TO_D | TABLE_7
    assert set(settings.SETTINGS) == paper | {"resnet8_digits", "lenet_digits"}


def test_lenets_are_the_fully_connected_networks():
    told = {name for name, s in settings.SETTINGS.items() if s.fully_connected}
    assert told == {"lenet_mnist", "lenet_digits"}
    for name in told:
        model = networks.build(settings.get(name).network)
        assert all(p.dim() < 4 for p in model.parameters())


def test_networks_of_appendices_b_to_d_are_trained_as_vgg16_is():
    recipe = ("epochs", "batch_size", "momentum", "learning_rate", "drops", "weight_decay")
    vgg16 = settings.get("vgg16_cifar10")
    for name in APPENDICES_B_TO_D - {"modified_resnet18_cifar10"}:
        other = settings.get(name)
        assert [getattr(other, f) for f in recipe] == [getattr(vgg16, f) for f in recipe]
    modified = settings.get("modified_resnet18_cifar10")  # Table 7: lr 0.2, batch 256, drop 0.1
    assert (modified.learning_rate, modified.batch_size, modified.drop_factor) == (0.2, 256, 0.1)


def test_the_recipes_that_table_7_says_tanaka_et_al_report():
    cifar10 = settings.get("modified_resnet18_cifar10_tanaka")
    assert (cifar10.learning_rate, cifar10.batch_size, cifar10.drop_factor) == (0.01, 128, 0.2)
    tiny = settings.get("modified_resnet18_tinyimagenet_tanaka")
    assert (tiny.learning_rate, tiny.batch_size, tiny.epochs) == (0.01, 128, 100)
    for ours, theirs in (("modified_resnet18_cifar10", cifar10),
                         ("modified_resnet18_tinyimagenet", tiny)):  # fmt: skip
        schedules = settings.schedule(ours, "paper"), settings.schedule(theirs.name, "paper")
        drops = [tuple(d / s.iterations for d in s.drops) for s in schedules]
        assert drops[0] == drops[1]


@pytest.mark.parametrize("name", settings.SETTINGS)
def test_network_and_dataset_fit(name):
    s = settings.get(name)
    examples, shape = EXAMPLES_AND_SHAPE[s.dataset]
    assert s.dataset in datasets.LOADERS
    assert networks.NETWORKS[s.network][1] == shape
    batches = examples / s.batch_size
    if s.dataset == "imagenet":  # the table prints 1251: the 143 images beyond are left out
        assert s.iterations_per_epoch == math.floor(batches)
    else:
        assert s.iterations_per_epoch == math.ceil(batches)


def test_replicates_as_in_section_3():
    assert settings.replicates("resnet20_cifar10", "paper") == 5
    assert settings.replicates("vgg16_cifar10", "paper") == 5
    assert settings.replicates("resnet18_tinyimagenet", "paper") == 3
    assert settings.replicates("resnet50_imagenet", "paper") == 3
    assert settings.replicates("resnet20_cifar10", "quick") == 3
    assert settings.replicates("resnet20_cifar10", "smoke") == 1


def test_sparsities_as_printed():
    printed = [
        20.0, 36.0, 48.8, 59.0, 67.2, 73.8, 79.0, 83.2, 86.6,
        89.3, 91.4, 93.1, 94.5, 95.6, 96.5, 97.2, 97.7, 98.2,
    ]  # fmt: skip
    ours = settings.sparsities("resnet20_cifar10", "paper")
    assert [round(100 * s, 1) for s in ours] == printed
    assert ours[0] == 0.2
    assert ours[1] == 0.36
    resnet50 = settings.sparsities("resnet50_imagenet", "paper")
    assert [round(100 * s, 1) for s in resnet50] == printed[:13]  # up to 94.5 %


def test_sparsities_of_figure_7():
    halved = [100 * settings.sparsity(k, base=0.5) for k in (1, 2, 3, 10)]
    assert halved == pytest.approx([50, 75, 87.5, 99.9], abs=0.05)


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("resnet20_cifar10", 73.8),
        ("vgg16_cifar10", 93.1),
        ("resnet18_tinyimagenet", 96.5),
        ("resnet50_imagenet", 67.2),
    ],
)
def test_highest_matching_sparsity_of_section_4(name, percent):
    highest = settings.sparsity(settings.get(name).matching)
    assert round(100 * highest, 1) == percent
    assert highest in settings.sparsities(name, "paper")


# Section 6 has lottery ticket rewinding at 1K, 2K and 1K, and magnitude pruning that reaches it at
# 25K, 26K and 36K; Appendix F.2 magnitude sensitive after 5,000, 10,000 and 4,000.
PRINTED_STEPS = {
    "resnet20_cifar10": (1000, 5000, 25_000),
    "vgg16_cifar10": (2000, 10_000, 26_000),
    "resnet18_tinyimagenet": (1000, 4000, 36_000),
}


@pytest.mark.parametrize("name", PRINTED_STEPS)
@pytest.mark.parametrize(("profile", "scale"), [("paper", 1), ("quick", 10)])
def test_steps_of_figures_6_and_10_contain_the_printed_ones(name, profile, scale):
    assert {step // scale for step in PRINTED_STEPS[name]} <= set(settings.steps(name, profile))


@pytest.mark.parametrize("name", settings.SETTINGS)
@pytest.mark.parametrize("profile", settings.PROFILES)
def test_steps_begin_at_initialisation_hold_the_rewinding_step_and_end(name, profile):
    *numbers, end = settings.steps(name, profile)
    schedule = settings.schedule(name, profile)
    assert end == "end"
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < schedule.iterations
    assert schedule.rewind_step in numbers
    assert any(step > 0 for step in numbers)
    assert len(numbers) <= {"paper": 17, "quick": 10, "coarse": 8, "smoke": 5}[profile]


@pytest.mark.parametrize(
    ("name", "drops"),
    [("resnet8_digits", (420, 630)), ("resnet20_cifar10", (31_280, 46_920)),
     ("resnet18_tinyimagenet", (39_100, 58_650)),
     ("resnet50_imagenet", (37_530, 75_060, 100_080))],
)  # fmt: skip
def test_steps_contain_the_drops_of_the_learning_rate(name, drops):
    assert set(drops) <= set(settings.steps(name, "paper"))


@pytest.mark.parametrize("setting", settings.SETTINGS)
def test_lower_profiles_take_sparsities_of_the_paper(setting):
    paper = settings.sparsities(setting, "paper")
    for profile in ("quick", "coarse", "smoke"):
        lower = settings.sparsities(setting, profile)
        assert lower
        assert lower == sorted(lower)
        assert set(lower) <= set(paper)


def test_learning_rate_drops_on_cifar10():
    schedule = settings.schedule("resnet20_cifar10", "paper")
    assert schedule.iterations == 62_560
    assert schedule.epochs == 160
    rates = {0: 0.1, 31_279: 0.1, 31_280: 0.01, 46_919: 0.01, 46_920: 1e-3, 62_559: 1e-3}
    for step, rate in rates.items():
        assert schedule.learning_rate_at(step) == pytest.approx(rate)


def test_learning_rate_warms_up_over_five_epochs_on_imagenet_and_tinyimagenet():
    imagenet = settings.schedule("resnet50_imagenet", "paper")  # 5 x 1251 = 6255
    rates = {
        0: 0.0, 3126: 0.4 * 3126 / 6255, 6254: 0.4 * 6254 / 6255, 6255: 0.4, 37_529: 0.4,
        37_530: 0.04, 75_059: 0.04, 75_060: 4e-3, 100_079: 4e-3, 100_080: 4e-4, 112_589: 4e-4,
    }  # fmt: skip
    for step, rate in rates.items():
        assert imagenet.learning_rate_at(step) == pytest.approx(rate)
    for name in ("resnet18_tinyimagenet", "modified_resnet18_tinyimagenet"):
        tiny = settings.schedule(name, "paper")  # 5 x 391 = 1955
        rates = {0: 0.0, 391: 0.04, 1564: 0.16, 1955: 0.2, 39_099: 0.2, 39_100: 0.02}
        for step, rate in rates.items():
            assert tiny.learning_rate_at(step) == pytest.approx(rate)


def test_learning_rate_is_constant_on_lenet():
    schedule = settings.schedule("lenet_mnist", "paper")
    assert schedule.iterations == 18_760
    assert {schedule.learning_rate_at(step) for step in range(18_760)} == {0.1}
    assert settings.schedule("lenet_digits", "paper").iterations == 440


@pytest.mark.parametrize(
    ("name", "iterations", "drops", "warmup", "rewind"),
    [
        ("lenet_mnist", 1_876, (), 0, 0),
        ("resnet20_cifar10", 6_256, (3_128, 4_692), 0, 100),
        ("vgg16_cifar10", 6_256, (3_128, 4_692), 0, 200),
        ("resnet18_tinyimagenet", 7_820, (3_910, 5_865), 195.5, 100),
        ("resnet50_imagenet", 11_259, (3_753, 7_506, 10_008), 625.5, 626),
    ],
)
def test_quick_is_a_tenth(name, iterations, drops, warmup, rewind):
    schedule = settings.schedule(name, "quick")
    assert schedule.iterations == iterations
    assert schedule.drops == pytest.approx(drops)
    assert schedule.warmup == pytest.approx(warmup)
    assert schedule.rewind_step == rewind
    assert schedule.epochs == pytest.approx(settings.get(name).epochs / 10)
    full = settings.schedule(name, "paper")
    for unscaled in ("batch_size", "learning_rate", "iterations_per_epoch", "test_examples"):
        assert getattr(schedule, unscaled) == getattr(full, unscaled)


def test_coarse_has_the_whole_schedule_and_the_highest_matching_sparsity_of_the_miniature():
    for name in settings.SETTINGS:
        assert settings.schedule(name, "coarse") == settings.schedule(name, "paper")
    miniature = settings.get("resnet8_digits")
    assert settings.sparsity(miniature.matching) in settings.sparsities("resnet8_digits", "coarse")
    assert settings.replicates("resnet8_digits", "coarse") == 2


@pytest.mark.parametrize("drop", [3_128, 4_692])
def test_quick_drops_the_rate_at_the_scaled_iteration(drop):
    schedule = settings.schedule("resnet20_cifar10", "quick")
    before, after = schedule.learning_rate_at(drop - 1), schedule.learning_rate_at(drop)
    assert after == pytest.approx(before / 10)


def test_smoke_takes_ten_iterations_and_500_test_examples():
    for name in settings.SETTINGS:
        schedule = settings.schedule(name, "smoke")
        assert schedule.iterations == 10
        assert schedule.test_examples == 500
        assert 0 <= schedule.rewind_step < 10


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: settings.get("resnet21"), settings.SETTINGS),
        (lambda: settings.get_profile("fast"), settings.PROFILES),
        (lambda: settings.schedule("resnet21", "paper"), settings.SETTINGS),
        (lambda: settings.schedule("lenet_mnist", "fast"), settings.PROFILES),
        (lambda: settings.sparsities("resnet21", "paper"), settings.SETTINGS),
        (lambda: settings.replicates("lenet_mnist", "fast"), settings.PROFILES),
    ],
)
def test_unknown_name_lists_the_names(call, names):
    with pytest.raises(UnknownNameError) as caught:
        call()
    assert isinstance(caught.value, KeyError)
    assert "resnet21" in str(caught.value) or "fast" in str(caught.value)
    assert all(name in str(caught.value) for name in names)
