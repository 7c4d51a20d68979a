"""The ledger: every kind of check on made-up results whose truth is known, and its rows."""

import math

import numpy as np
import pandas as pd
import pytest
from conftest import mask, trained
from scipy import stats

from prunelib import networks, settings
from prunelib.errors import BadValueError
from prunelib.findings import claims, decisions, kinds, ledger, statistics
from prunelib.findings.decisions import decide
from prunelib.findings.measures import Results
from prunelib.findings.samples import Samples
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import DENSE, Curve

SETTING, PROFILE = "resnet8_digits", "paper"
LEVELS = settings.sparsities(SETTING, PROFILE)
CURVES = ("random", "magnitude", "snip", "grasp", "synflow", "magnitude@end", "snip+shuffle")
ROW = {
    "id": "0.01", "section": "4", "place": "made up", "claim": "made up", "settings": SETTING,
    "across": "each", "general": "no", "kind": "difference", "measure": "accuracy",
    "subject": "snip", "reference": "random", "parts": "all", "over": "any", "each": "mean",
    "region": "higher", "bound": "0.5", "upper": "", "printed": "", "reason": "", "figure": "3",
}  # fmt: skip


def claim(**values):
    return claims.parse(ROW | {name: str(value) for name, value in values.items()})


class MadeUp:
    """Results of which the truth is known: `truth` is a dict from curve to accuracies in percent,
    one for all sparsities or one a sparsity; each network scatters about it."""

    def __init__(self, stream, truth, spread=0.3, replicates=5, guess=20.0, levels=LEVELS):
        places, values = [LEVELS.index(level) for level in levels], {}
        for curve in CURVES:
            means = np.broadcast_to(truth.get(curve, 90.0), len(LEVELS))[places]
            drawn = means + spread * stream.normal(size=(replicates, len(levels)))
            values[Curve.parse(curve)] = pd.DataFrame(drawn, columns=list(levels))
        level = 90 + spread * stream.normal(size=(replicates, 1))
        values[DENSE] = pd.DataFrame(level.repeat(len(levels), 1), columns=list(levels))
        self._samples = Samples(values, guess)

    def samples(self, *_):
        return self._samples


def said(stream, row, truth, **how):
    return decide(kinds.build(row, MadeUp(stream, truth, **how), SETTING, PROFILE)).verdict


FALLING = 90 - np.maximum(0, np.arange(len(LEVELS)) - 8.0)  # from the tenth sparsity on
CASES = {
    "difference": (claim(), {"snip": 92}, {"snip": 90.2}, {"snip": 85}),
    "at every sparsity": (claim(each="all"), {"snip": 92}, {"snip": FALLING + 2}, {"snip": 88}),
    "at some sparsity": (
        claim(each="some"),
        {"snip": np.where(np.arange(len(LEVELS)) == 4, 92.0, 90.0)},
        {"snip": 89.5},
        {"snip": 88},
    ),
    "the best somewhere": (  # not above one here, and above the other there
        claim(subject="snip", reference="random grasp", each="some"),
        {"snip": np.where(np.arange(len(LEVELS)) == 4, 92.0, 90.0)},
        {
            "snip": 90,
            "random": np.where(np.arange(len(LEVELS)) < 9, 88.0, 92.0),
            "grasp": np.where(np.arange(len(LEVELS)) < 9, 92.0, 88.0),
        },
        {"snip": 80},
    ),
    "equivalence": (
        claim(kind="equivalence", region="same"),
        {"snip": 90.1},
        {"snip": 91.0},
        {"snip": 85},
    ),
    "all methods": (
        claim(subject="snip grasp synflow"),
        dict.fromkeys(("snip", "grasp", "synflow"), 92),
        {"snip": 92, "grasp": 92, "synflow": 90.1},
        {"snip": 92, "grasp": 92, "synflow": 80},
    ),
    "some method": (
        claim(subject="snip grasp synflow", parts="some"),
        {"snip": 90, "grasp": 92, "synflow": 80},
        dict.fromkeys(("snip", "grasp", "synflow"), 90.0),
        dict.fromkeys(("snip", "grasp", "synflow"), 85.0),
    ),
    "value": (
        claim(kind="value", reference="", region="same", bound=1, printed=90),
        {"snip": 90.2},
        {"snip": 92},
        {"snip": 70},
    ),
    "order": (
        claim(kind="order", subject="synflow snip grasp", reference=""),
        {"synflow": 93, "snip": 91.5, "grasp": 90},
        {"synflow": 93, "snip": 93.2, "grasp": 90},
        {"synflow": 80, "snip": 91, "grasp": 90},
    ),
    "trend": (
        claim(kind="trend", reference=""),
        {"snip": 85 + np.arange(len(LEVELS)) / 4},
        {"snip": 85 - np.arange(len(LEVELS)) / 10},
        {"snip": 85 - np.arange(len(LEVELS))},
    ),
    "crossing": (
        claim(kind="crossing", region="not lower", printed=86.6),  # the ninth of the grid
        {"snip": FALLING},
        {"snip": np.append(FALLING[4:], [70] * 4)},  # four sparsities too early
        {"snip": np.full(len(LEVELS), 80.0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_what_is_true_and_what_is_false_by_little_or_much(kind):
    row, true, little, much = CASES[kind]
    stream = np.random.default_rng(1)
    assert said(stream, row, true) == "supported"
    assert said(stream, row, little) == "not supported"
    assert said(stream, row, much) == "not supported"


@pytest.mark.parametrize("kind", CASES)
def test_noise_is_undecided_and_one_replicate_not_run(kind):
    row, true, *_ = CASES[kind]
    stream = np.random.default_rng(2)
    assert said(stream, row, true, spread=30.0, guess=-math.inf) == "undecided"
    assert said(stream, row, true, replicates=1) == "not run"


def test_one_network_refutes_what_is_said_of_all():
    """No network may have above 95; at one sparsity of eighteen one of five has, or none."""
    row = claim(kind="count", reference="", each="all", region="at most", bound=95)
    snip = Curve("snip")
    values = {snip: pd.DataFrame(90.0, range(5), LEVELS)}
    results = MadeUp(np.random.default_rng(0), {})
    results._samples = Samples(values, pooled=False)
    assert decide(kinds.build(row, results, SETTING, PROFILE)).verdict == "supported"
    values[snip].iloc[3, 7] = 96
    results._samples = Samples(values, pooled=False)
    found = decide(kinds.build(row, results, SETTING, PROFILE))
    assert (found.verdict, found.part.effect.mean) == ("not supported", 96)
    values[snip] = values[snip].drop(columns=[LEVELS[0]])  # what is missing changes nothing
    results._samples = Samples(values, pooled=False)
    assert decide(kinds.build(row, results, SETTING, PROFILE)).verdict == "not supported"
    values[snip].iloc[3, 6] = 90
    results._samples = Samples(values, pooled=False)
    assert decide(kinds.build(row, results, SETTING, PROFILE)).verdict == "not run"


def test_initialisations_are_compared_by_what_pruning_costs(tmp_path):
    """With fixed variance SNIP is a point lower, and so is the unpruned network."""
    stream = np.random.default_rng(0)
    truth = {"snip": 0.90, "snip~fixed_variance": 0.89}
    truth |= {"unpruned": 0.95, "unpruned~fixed_variance": 0.94}
    made = [
        trained(
            Curve.parse(name).run(
                "lenet_mnist", "paper", 0.0 if "un" in name else settings.sparsity(12), r
            ),
            round(mean + 0.0005 * stream.normal(), 6),
            dataset="mnist@0",
        )
        for name, mean in truth.items()
        for r in range(5)
    ]
    Store(tmp_path).add(made)
    row = claim(
        settings="lenet_mnist", over="93.1", kind="equivalence", region="same",
        subject="snip~fixed_variance", reference="snip",
    )  # fmt: skip
    (found,) = ledger.entries(Results(tmp_path), [row])
    assert found.effect == pytest.approx(0, abs=0.15)
    assert (found.verdict, found.missing) == ("supported", 0)
    Store(tmp_path / "less").add(made[:10])  # without the unpruned networks
    (found,) = ledger.entries(Results(tmp_path / "less"), [row])
    assert (found.verdict, found.missing) == ("not run", 10)


@pytest.mark.parametrize("reference", ["", "magnitude"])
def test_what_an_ablation_changes_is_the_difference_of_accuracies(tmp_path, reference):
    """A claim about all methods is supported where it is of each, and one about two of them is
    about the difference of their differences: SNIP loses 0.1 points, magnitude 0.3."""
    stream = np.random.default_rng(0)
    truth = {"snip": 0.90, "snip+shuffle": 0.899, "magnitude": 0.92, "magnitude+shuffle": 0.917}
    Store(tmp_path).add(
        trained(
            Curve.parse(name).run("lenet_mnist", "paper", settings.sparsity(12), r),
            round(mean + 0.0005 * stream.normal(), 6),
            dataset="mnist@0",
        )
        for name, mean in truth.items()
        for r in range(5)
    )
    about = {"settings": "lenet_mnist", "over": "93.1", "kind": "equivalence", "bound": "0.5"}
    about |= {"region": "not lower", "reference": reference}
    both = claim(measure="effect of shuffle", subject="snip magnitude", **about)
    single = [
        claim(subject=f"{name}+shuffle", **about | {"reference": name})
        for name in ("snip", "magnitude")
    ]
    (found,) = ledger.entries(Results(tmp_path), [both])
    alone = ledger.entries(Results(tmp_path), single)
    assert found.verdict == "supported"
    if reference:
        assert found.effect == pytest.approx(0.2, abs=0.1)
    else:
        worst = min(alone, key=lambda e: e.effect)
        assert (found.effect, found.low) == (worst.effect, worst.low)
        assert [e.verdict for e in alone] == ["supported", "supported"]


def test_how_many_replicates_a_printed_number_rests_on():
    """C.4: five for Table 5, ResNet-50 too, of which the figures have three."""
    assert kinds.replicates(claim(figure="Table 5"), "resnet50_imagenet") == 5
    assert kinds.replicates(claim(figure="4"), "resnet50_imagenet") == 3
    assert kinds.replicates(claim(figure="16"), "resnet50_imagenet") == 3


def test_collapsed_networks_say_nothing():
    """Where both guess there is no difference to see; the rest decides."""
    fallen = np.where(np.arange(len(LEVELS)) < 12, 92.0, 10.0)
    low = np.where(np.arange(len(LEVELS)) < 12, 90.0, 10.0)
    stream, truth = np.random.default_rng(3), {"snip": fallen, "random": low}
    for each in ("mean", "all", "some"):
        assert said(stream, claim(each=each), truth) == "supported"
    assert said(stream, claim(over="98.2"), truth) == "undecided"


def test_sparsities_that_are_left_out_are_named():
    """Random pruning collapses at the last sparsity of three, and not SNIP, whose lead there would
    be eighty points."""
    truth = {"snip": 92.0, "random": np.where(np.arange(len(LEVELS)) < 17, 90.0, 10.0)}
    made = MadeUp(np.random.default_rng(3), truth, guess=20)
    part = kinds.build(claim(over="97…"), made, SETTING, PROFILE)
    assert part.label == "snip against random, without 98.2 %, where a network guesses"
    assert part.effect.mean == pytest.approx(2, abs=0.5)


# On the bound of what each claim allows: it is true or false by as little as can be, so that either
# verdict would be wrong. A crossing has two bounds, one where it is a grid point too late, and one
# where it is just not.
FEW = "67.2…93.1"  # eight sparsities, the fifth of them printed
EDGES = {
    "difference": (claim(over=FEW), {"snip": 90.5}),
    "at every sparsity": (claim(over=FEW, each="all"), {"snip": 90.5}),
    "at some sparsity": (claim(over=FEW, each="some"), {"snip": 90.5}),
    "equivalence": (claim(over=FEW, kind="equivalence", region="same"), {"snip": 90.5}),
    "all methods": (
        claim(over=FEW, subject="snip grasp synflow"),
        {"snip": 95, "grasp": 95, "synflow": 90.5},
    ),
    "some method": (
        claim(over=FEW, subject="snip grasp synflow", parts="some"),
        dict.fromkeys(("snip", "grasp", "synflow"), 90.5),
    ),
    "narrow equivalence": (  # narrower than the error of a mean
        claim(over=FEW, kind="equivalence", region="same", bound=0.001),
        {"snip": 90.0},
    ),
    "value": (
        claim(over=FEW, kind="value", reference="", region="same", bound=1, printed=90),
        {"snip": 91},
    ),
    "order": (
        claim(over=FEW, kind="order", subject="synflow snip grasp", reference=""),
        {"synflow": 93, "snip": 90.5, "grasp": 90},
    ),
    "trend": (
        claim(over=FEW, kind="trend", reference=""),
        {"snip": 85 + 0.5 * np.arange(len(LEVELS)) / 7},
    ),
    "late crossing": (
        claim(over=FEW, kind="crossing", region="not lower", printed=86.6),
        {"snip": np.where(np.arange(len(LEVELS)) < 11, 90.0, 80.0) - 0.5},
    ),
    "crossing": (
        claim(over=FEW, kind="crossing", region="not lower", printed=86.6),
        {"snip": np.where(np.arange(len(LEVELS)) < 10, 90.0, 89.5)},
    ),
}
IMPOSSIBLE = {"late crossing": "not supported", "crossing": "supported"}  # which would be right


def test_false_verdicts_are_as_rare_as_promised():
    """A thousand made-up ledgers in which every claim lies on its bound: neither "supported" nor
    "not supported" is said of more than one in twenty, but for the chance of a thousand draws."""
    stream, ledgers = np.random.default_rng(4), 1000
    limit = ledgers * 0.05 + 3 * (ledgers * 0.05 * 0.95) ** 0.5
    for kind, (row, truth) in EDGES.items():
        levels = LEVELS[4:12]
        found = [said(stream, row, truth, levels=levels) for _ in range(ledgers)]
        for verdict in ("supported", "not supported"):
            assert found.count(verdict) <= limit or IMPOSSIBLE.get(kind) == verdict, kind


def test_five_replicates_can_tell_what_the_paper_prints_as_a_level():
    """Networks that scatter by 0.2 points, as on CIFAR-10, and a quarter of a point that counts: a
    curve that leaves full accuracy where it is printed to is mostly found to, and one that leaves
    it four sparsities earlier is found out."""
    row = claim(kind="crossing", region="not lower", bound=0.25, printed=86.6, reference="unpruned")
    stream, early = np.random.default_rng(5), np.append(FALLING[4:], [70] * 4)
    true, false = (
        [said(stream, row, {"snip": curve}, spread=0.2) for _ in range(200)]
        for curve in (FALLING, early)
    )
    assert true.count("supported") > 100
    assert "not supported" not in true
    assert false.count("not supported") > 190


def test_most_methods_on_most_networks_are_most_of_both_together():
    """Ten of sixteen, though on two networks they are one of four."""
    row = claim(across="most", parts="most")
    holds, fails = (decisions.Part("", statistics.exact(value), row.region) for value in (2, 0))
    built = [
        decisions.Parts("most", (holds,) * true + (fails,) * (4 - true)) for true in (4, 4, 1, 1)
    ]
    assert decide(kinds.together(row, built)).verdict == "supported"
    assert decide(kinds.together(row, built[1:])).verdict == "not supported"  # six of twelve


# ------------------------------------------------------------------------- entries of the ledger

MNIST = {"settings": "lenet_mnist", "over": "93.1", "subject": "snip", "reference": "random"}


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of results: SNIP three points above random pruning, three replicates."""

    def make(setting="lenet_mnist", profile="paper", data="mnist@0", count=3, up=0.03):
        stream = np.random.default_rng(0)
        made = [
            trained(
                Curve(method).run(setting, profile, settings.sparsity(12), r),
                round(0.9 + more + 0.001 * stream.normal(), 6),
                dataset=data,
            )
            for method, more in (("snip", up), ("random", 0.0))
            for r in range(count)
        ]
        Store(tmp_path).add(made)
        return Results(tmp_path)

    return make


def test_an_entry_by_hand(folder):
    (found,) = ledger.entries(folder(), [claim(**MNIST, reason="a reason")])
    assert (found.verdict, found.spoken, found.named) == ("supported", True, True)
    assert (found.replicates, found.data, found.rests_on) == (3, "", "trained networks")
    assert found.effect == pytest.approx(3, abs=0.3)
    assert found.low < found.effect < found.high
    assert found.part == "snip against random at 93.1 %"
    assert found.ends == ""  # there is one sparsity
    assert (found.allowed, found.half, found.twice) == ("higher (0.5)", "supported", "supported")
    # two of five replicates of two curves are missing, of 40 epochs of 469 iterations of 128
    assert found.missing == 4
    images = 4 * 40 * 469 * 128
    assert found.pflop == pytest.approx(images * networks.flops("lenet") / 1e15, rel=0.01)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, "supported"),
        ({"up": -0.03}, "not supported"),
        ({"data": "fashion@0"}, "agrees"),
        ({"data": "fashion@0", "up": -0.03}, "differs"),
        ({"count": 1}, "not run"),
    ],
)
def test_what_may_be_said_of_which_results(folder, made, said):
    (found,) = ledger.entries(folder(**made), [claim(**MNIST)])
    assert found.verdict == said
    assert found.spoken == ("data" not in made)


def test_other_settings_and_profiles_agree_or_differ(folder):
    """A general claim about LeNet is shown of the miniature, of a lower profile, and not run."""
    results = folder("resnet8_digits", data="digits@0")
    folder(profile="quick")
    general = ledger.entries(results, [claim(**MNIST, general="yes")])
    found = {(e.setting, e.profile): e.verdict for e in general}
    assert found == {
        ("lenet_mnist", "paper"): "not run",
        ("lenet_mnist", "quick"): "agrees",
        ("resnet8_digits", "paper"): "agrees",
    }
    assert [e.setting for e in ledger.entries(results, [claim(**MNIST)])] == ["lenet_mnist"] * 2


def test_one_verdict_for_several_settings(folder):
    """Somewhere SNIP is above random pruning: on LeNet, and nothing was run of the other."""
    both = {"settings": "lenet_mnist resnet20_cifar10", "over": "93.1"}
    (found,) = ledger.entries(folder(), [claim(**both, across="some")])
    assert (found.verdict, found.setting) == ("supported", "lenet_mnist, resnet20_cifar10")
    (found,) = ledger.entries(folder(), [claim(**both, across="all")])
    assert found.verdict == "not run"
    assert found.missing == 4 + 10


def test_one_setting_minus_another(folder):
    """95 % on one, 90 % on the other, by Welch's interval."""
    results = folder(up=0.05)
    folder("resnet20_cifar10", data="cifar10@0", up=0.0)
    row = claim(
        settings="lenet_mnist resnet20_cifar10", across="minus", over="93.1", reference="", bound=4
    )
    (found,) = ledger.entries(results, [row])
    assert found.effect == pytest.approx(5, abs=0.3)
    assert (found.verdict, found.part) == ("supported", "lenet_mnist minus resnet20_cifar10")


def test_facts_are_exact_and_recorded():
    row = claim(
        settings="resnet50_imagenet", kind="count", measure="fact layers on the main path",
        subject="", reference="", over="", region="same", bound=0, printed=50,
    )  # fmt: skip
    (found,) = ledger.entries(Results(), [row])
    assert (found.effect, found.verdict, found.allowed) == (50, "supported", "50")
    assert found.rests_on == "exact numbers"
    wrong = claims.parse(ROW | {"id": "0.02"} | _words(row, printed="49"))
    assert ledger.entries(Results(), [wrong])[0].verdict == "not supported"


def _words(row, **changes):
    return {
        "settings": row.settings[0], "kind": row.kind, "measure": row.measure, "subject": "",
        "reference": "", "over": "", "region": "same", "bound": "0",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "guess"}, "unknown kind 'guess'"),
        ({"settings": "resnet21"}, "unknown setting 'resnet21'"),
        ({"subject": "snop"}, "unknown method 'snop'"),
        ({"subject": "snip!"}, "curve 'snip!' is not"),
        ({"subject": ""}, "has no subject"),
        ({"measure": "speed"}, "measure 'speed'"),
        ({"measure": "fact no such"}, "unknown fact 'no such'"),
        ({"region": "above"}, "unknown region 'above'"),
        ({"bound": "-1"}, "margin -1.0"),
        ({"bound": "many"}, "many"),
        ({"kind": "crossing"}, "a crossing has"),
        ({"parts": "few"}, "unknown parts 'few'"),
        ({"general": "Yes"}, "unknown general 'Yes'"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(values, sentence):
    with pytest.raises(BadValueError, match=r"claim '0.01' of claims.csv: ") as error:
        claim(**values)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("over", "levels"),
    [
        ("any", range(1, 19)),
        ("matching", range(1, 10)),
        ("extreme", range(10, 19)),
        ("lower", range(1, 10)),
        ("higher", range(10, 19)),
        ("highest", [18]),
        ("highest matching", [9]),
        ("next", [10, 11]),
        ("73.8", [6]),
        ("59.0…73.8", [4, 5, 6]),
        ("…36.0", [1, 2]),
        ("97.2…", [16, 17, 18]),
    ],
)
def test_where_a_claim_speaks(over, levels):
    found = kinds.points(claim(over=over), SETTING, PROFILE)
    assert found == [settings.sparsity(k) for k in levels]


@pytest.mark.parametrize(
    ("over", "levels"),
    [("highest matching", [12]), ("matching", range(1, 13)), ("extreme", range(13, 19))],
)
def test_where_no_highest_matching_sparsity_is_known(over, levels):
    """Masks are read at 93.1 %; no accuracy is known to match there, or not to."""
    row = {"settings": "lenet_mnist", "over": over, "reference": ""}
    assert kinds.points(claim(**row), "lenet_mnist", PROFILE) == []
    neurons = kinds.points(claim(**row, measure="neurons"), "lenet_mnist", PROFILE)
    assert neurons == [settings.sparsity(k) for k in levels]


def test_where_a_claim_speaks_off_the_grid_and_along_steps():
    assert kinds.points(claim(over="97"), SETTING, PROFILE) == [0.97]
    steps = kinds.points(claim(over="steps 0.5…"), SETTING, PROFILE)
    assert steps[0] == 420
    assert steps[-1] == 840
    assert kinds.points(claim(over="steps end"), SETTING, PROFILE) == [840]
    for over in ("some", "73.8…20.0"):
        with pytest.raises(BadValueError, match=f"points '{over}' are no name"):
            kinds.points(claim(over=over), SETTING, PROFILE)


def test_the_committed_ledger():
    """Every row can be held against the results, at once; what comes out is valid by its schema."""
    found = ledger.entries()
    named = [e for e in found if e.named and e.profile == "paper"]
    assert len(named) >= 240
    at_fidelity = [e for e in named if e.spoken and e.verdict != "not run"]
    assert len([e for e in at_fidelity if e.rests_on != "exact numbers"]) >= 70
    text = ledger.ENTRIES.dump_json(found)
    assert ledger.ENTRIES.validate_json(text) == found
    for e in found:
        assert e.verdict != "supported" or e.spoken
        assert e.verdict != "not run" or e.missing, e.id
    assert ledger.UNLISTED not in {e.setting for e in found}


# -------------------------------------------------------------------------- entries, by hand


def exactly(tmp_path, differences, levels=(12, 13, 14), **changes):
    """Results of LeNet on MNIST: SNIP as many points above random pruning at each of some
    sparsities, three replicates that scatter by a hundredth of a point."""
    Store(tmp_path).add(
        trained(
            Curve(method).run("lenet_mnist", "paper", settings.sparsity(level), r),
            round(0.9 + (0.01 * up if method == "snip" else 0) + 0.0001 * (r - 1), 6),
            dataset="mnist@0",
            precision="bf16" if method == "random" else "fp32",
        )
        for level, up in zip(levels, differences, strict=True)
        for method in ("snip", "random")
        for r in range(3)
    )
    return Results(tmp_path)


def the_entry(results, **values):
    (found,) = ledger.entries(results, [claim(**MNIST | values)])
    return found


def test_what_a_measure_compares_with_counts_among_what_a_claim_rests_on(tmp_path):
    """SynFlow needs no data; how far its layers are from GraSP's rests on GraSP's images."""
    masks = [
        mask(
            Curve(method).run("resnet20_cifar10", "paper", settings.sparsity(6), r),
            layers=(9,) * 22 if method == "grasp" else (10,) * 22,
            dataset="cifar10-jpeg@0" if method == "grasp" else "none",
        )
        for method in ("synflow", "grasp")
        for r in range(5)
    ]
    Store(tmp_path, MASK).add(masks)
    row = {
        "settings": "resnet20_cifar10", "kind": "value", "measure": "distance to grasp",
        "subject": "synflow", "reference": "", "over": "73.8", "region": "at most", "bound": 5,
    }  # fmt: skip
    found = the_entry(Results(tmp_path), **row)
    assert (found.data, found.verdict) == ("cifar10-jpeg", "agrees")


def test_the_ends_of_an_effect_and_the_precisions_behind_it(tmp_path):
    found = the_entry(exactly(tmp_path, (3, 1, 5)), over="93.1…95.6")
    assert found.effect == pytest.approx(3)
    assert found.ends == "1.0 at 94.5 % … 5.0 at 95.6 %"
    assert found.precision == "bf16, fp32"


def test_half_and_twice_the_margin(tmp_path):
    """Three points are more than half of two and than two, but not than twice two."""
    found = the_entry(exactly(tmp_path, (3,), (12,)), bound=2)
    assert (found.half, found.verdict, found.twice) == ("supported", "supported", "not supported")


def test_a_claim_that_holds_in_its_direction_but_not_in_its_size_falls_short(tmp_path):
    results = exactly(tmp_path, (3,), (12,))
    assert the_entry(results, bound=4).short
    assert not the_entry(results, bound=2).short  # it holds
    assert not the_entry(results, region="lower", bound=4).short  # nor in its direction


def test_the_verdict_by_own_spreads(tmp_path):
    """Two points apart with the error 0.02^0.5, 1.5 being what counts: t = 3.5, which is enough
    with the six degrees of freedom of six curves, and not with the two of two."""
    for place, name in enumerate(("random", "snip", "grasp", "synflow", "magnitude@end")):
        for r in range(2):
            run = Curve.parse(name).run("lenet_mnist", "paper", settings.sparsity(6), r)
            Store(tmp_path).add([trained(run, 0.9 + 0.02 * place + 0.002 * r)])
    run = [Curve("magnitude").run("lenet_mnist", "paper", settings.sparsity(6), r) for r in (0, 1)]
    Store(tmp_path).add([trained(run[0], 0.8), trained(run[1], 0.802)])
    found = the_entry(Results(tmp_path), over="73.8", bound=1.5)
    assert (found.verdict, found.alone) == ("agrees", "undecided")


@pytest.mark.parametrize(
    ("values", "level"),
    [({"bound": 2}, 0.975), ({"kind": "equivalence", "region": "same", "bound": 4}, 0.95)],
)
def test_the_interval_is_the_one_that_decides(tmp_path, values, level):
    """Two means of three with the variance 0.01^2 points each, pooled: four degrees of freedom."""
    found = the_entry(exactly(tmp_path, (3,), (12,)), **values)
    half = stats.t.ppf(level, 4) * 0.01 * (2 / 3) ** 0.5
    assert found.low == pytest.approx(3 - half, abs=1e-5)
    assert found.high == pytest.approx(3 + half, abs=1e-5)


@pytest.mark.parametrize(("bound", "allowed"), [(1, "93 ± 1"), (0, "93")])
def test_a_value_is_shown_as_it_is_and_not_as_a_difference(tmp_path, bound, allowed):
    value = {"kind": "value", "reference": "", "region": "same", "printed": 93, "bound": bound}
    found = the_entry(exactly(tmp_path, (3,), (12,)), **value)
    assert found.effect == pytest.approx(93)
    assert found.low < 93 < found.high
    assert found.allowed == allowed


MISSING = {"settings": "lenet_mnist", "over": "93.1", "subject": "snip", "reference": ""}


@pytest.mark.parametrize(
    ("values", "runs", "dense"),
    [
        ({}, ["snip"], 5),
        ({"subject": "snip+shuffle", "reference": "snip"}, ["snip", "snip+shuffle"], 10),
        ({"measure": "reconnected"}, ["snip", "snip+shuffle"], 0),
        ({"measure": "effect of shuffle"}, ["snip", "snip+shuffle"], 10),
        (
            {"measure": "ks, before training", "subject": "snip+reinit"},
            ["snip", "snip+reinit"],
            0,
        ),
        ({"measure": "neurons", "subject": "magnitude@end"}, ["magnitude@end"], 5),
        ({"measure": "distance to magnitude@end"}, ["magnitude@end", "snip"], 5),
        ({"measure": "distance to variances"}, ["snip"], 0),
        (
            {"measure": "excess ks, before training", "subject": "snip+shuffle"},
            ["random", "random+shuffle", "snip", "snip+shuffle"],
            0,
        ),
        (
            {"subject": "snip~fixed_variance", "reference": "snip"},
            ["snip", "snip~fixed_variance", "unpruned", "unpruned~fixed_variance"],
            20,
        ),
    ],
)
def test_what_a_claim_lacks_and_what_training_that_takes(tmp_path, values, runs, dense):
    """Five replicates of each curve; masks and weights before training take no training, but for
    masks of trained networks, and then that of as many unpruned ones."""
    (found,) = ledger.entries(Results(tmp_path), [claim(**MISSING | values)])
    about = claim(**MISSING | values), Results(tmp_path), "lenet_mnist", "paper"
    absent = [run for kind in ledger.missing(*about).values() for run in kind]
    named = {str(Curve(r.method, r.ablation, r.prune_at, r.weights_from, r.init)) for r in absent}
    assert sorted(named) == runs
    assert found.missing == 5 * len(runs)
    cost = dense * 40 * 469 * 128 * networks.flops("lenet") / 1e15
    assert found.pflop == pytest.approx(cost, rel=0.01, abs=1e-4)


# ------------------------------------------------------------------------------ parts, by hand


def test_what_claims_lack_is_named_for_each_setting_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path))
    found = ledger.lacking(["5.03", "5.03"], profile="quick")
    (about,) = (c for c in claims.every() if c.id == "5.03")
    assert [name for _, name, _ in found] == list(about.settings)
    assert {run.profile for _, _, runs in found for run in runs} == {"quick"}
    assert found == ledger.lacking(["5.03"], profile="quick")
    (_, _, both) = ledger.lacking(["5.03", "5.05"], "resnet20_cifar10", "quick")[0]
    (_, _, one) = ledger.lacking(["5.03"], "resnet20_cifar10", "quick")[0]
    (_, _, other) = ledger.lacking(["5.05"], "resnet20_cifar10", "quick")[0]
    assert set(both) == {*one, *other}
    assert len(both) == len(set(both))


def test_weights_are_compared_at_the_sparsities_that_a_setting_has():
    row = claim(settings="resnet50_imagenet", measure="ks, before training", over="any")
    points = kinds.points(row, "resnet50_imagenet", PROFILE)
    assert points == [settings.sparsity(k) for k in (6, 12)]


def test_the_other_grids_that_claims_speak_of():
    """Figure 7 has 1 - 0.5^k, the follow-up's weights three sparsities; masks have all of them
    whatever the profile."""
    any_ = {"over": "any", "reference": ""}
    sevens = claim(settings="vgg16_cifar10", figure="7", **any_)
    assert kinds.points(sevens, "vgg16_cifar10", "paper")[:3] == [0.5, 0.75, 0.875]
    weights = kinds.points(claim(measure="ks, before training", **any_), SETTING, PROFILE)
    assert weights == [settings.sparsity(k) for k in (6, 12, 18)]
    masks_ = kinds.points(claim(measure="neurons", **any_), SETTING, "quick")
    assert masks_ == list(LEVELS)


def test_one_effect_minus_another_by_welch():
    """Errors of 3 and 4 make 5; 25^2 / (9^2 / 2 + 16^2 / 4) degrees of freedom."""
    minus = claim(
        settings="lenet_mnist resnet20_cifar10", across="minus", reference="", over="93.1"
    )
    parts = [
        decisions.Part("", statistics.Effect(10, 3, 2, 3), minus.region),
        decisions.Part("", statistics.Effect(4, 4, 4, 5), minus.region),
    ]
    found = kinds.together(minus, parts).effect
    assert (found.mean, found.error, found.n) == (6, 5, 3)
    assert found.freedom == pytest.approx(625 / (81 / 2 + 256 / 4))


def test_no_curve_is_compared_with_itself():
    row = claim(subject="snip", reference="snip random grasp")
    built = kinds.build(row, MadeUp(np.random.default_rng(0), {}), SETTING, PROFILE)
    assert [part.label for part in built.parts] == ["snip against random", "snip against grasp"]


def test_a_sparsity_tells_something_where_only_one_of_two_references_guesses():
    """At the last one SNIP and random pruning guess and GraSP does not: SNIP is below GraSP."""
    last = np.where(np.arange(len(LEVELS)) == len(LEVELS) - 1, 10.0, 90.0)
    truth = {"snip": last + np.where(last > 50, 2, 0), "random": last, "grasp": 90}
    row = claim(subject="snip", reference="random grasp", each="all")
    assert said(np.random.default_rng(1), row, truth) == "not supported"


@pytest.mark.parametrize(
    ("region", "bound", "values", "verdict"),
    [
        ("higher", 0, {0: 0.0, 1: 100.0}, "supported"),
        ("higher", 0, {0: 0.0, 1: 0.0}, "not run"),
        ("higher", 0, dict.fromkeys(range(5), 0.0), "not supported"),
        ("at least", 1, {0: 1.0}, "supported"),
        ("at least", 1, {0: 0.5}, "not run"),
        ("at least", 1, dict.fromkeys(range(5), 0.5), "not supported"),
        ("at most", 1, {0: 1.0}, "not run"),
        ("at most", 1, {0: 1.0, 1: 0.0}, "supported"),
        ("at most", 1, {0: 1.5}, "not supported"),
        ("at most", 1, dict.fromkeys(range(5), 1.0), "supported"),
        ("same", 1, {0: -2.0}, "not run"),
        ("same", 1, {0: 2.0}, "not supported"),
    ],
)
def test_how_many_networks_it_takes_to_say_what_the_largest_is(region, bound, values, verdict):
    row = claim(kind="count", over="93.1", reference="", region=region, bound=bound)
    snip = Curve("snip")
    samples = Samples({snip: pd.DataFrame({settings.sparsity(12): values})}, pooled=False)
    point = [settings.sparsity(12)]
    built = kinds._compared(row, samples, snip, None, point, (SETTING, PROFILE))
    assert decide(built).verdict == verdict


def test_where_every_network_guesses_that_is_said():
    made = MadeUp(np.random.default_rng(0), {"snip": 10.0, "random": 10.0})
    built = kinds.build(claim(over="93.1"), made, SETTING, PROFILE)
    assert built.label == "snip against random at 93.1 %, where a network guesses"
    assert decisions.decide(built).verdict == "undecided"


@pytest.mark.parametrize(
    ("place", "verdict"), [(-2, "supported"), (-3, "not supported"), (-4, "not supported")]
)
def test_a_crossing_near_the_end_of_the_grid(place, verdict):
    """It holds everywhere: of a crossing at the last but one sparsity nothing after it can tell."""
    row = claim(kind="crossing", region="not lower", printed=round(100 * LEVELS[place], 1))
    assert said(np.random.default_rng(1), row, {"snip": 95.0}) == verdict


def test_a_crossing_at_the_beginning_of_the_grid_holds_there_at_least():
    """Random pruning that is printed to match full accuracy up to 20 %, and does so nowhere, or
    there alone."""
    row = claim(kind="crossing", region="not lower", printed=20.0)
    assert said(np.random.default_rng(1), row, {"snip": 80.0}) == "not supported"
    built = kinds.build(row, MadeUp(np.random.default_rng(0), {}), SETTING, "quick")
    assert len(built.parts) == 1  # its first sparsity is 48.8 %, of which nothing is printed
    once = np.where(np.arange(len(LEVELS)) == 0, 90.0, 80.0)
    assert said(np.random.default_rng(1), row, {"snip": once}) == "supported"


def test_curves_are_named_by_their_steps():
    """Lottery ticket rewinding by the iteration of the setting; along steps by what varies."""
    made = MadeUp(np.random.default_rng(0), {})
    rewound = kinds.build(claim(subject="magnitude@end/rewind"), made, SETTING, PROFILE)
    assert rewound.label == "magnitude@end/21 against random"
    late = claim(subject="snip@k", reference="random@k", over="steps end")
    assert kinds.build(late, made, SETTING, PROFILE).label.startswith("snip@k against random@k")
