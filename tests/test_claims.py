import pandas as pd
import pytest
from scipy import stats

from prunelib import settings
from prunelib.findings import claims
from prunelib.results.store import COLUMNS
from prunelib.runs import AFTER, DENSE, Curve


@pytest.mark.parametrize(
    ("expected", "interval", "verdict"),
    [
        ("higher", (0.001, 0.02), "supported"),
        ("higher", (-0.02, -0.001), "contradicted"),
        ("higher", (-0.001, 0.02), "undecided"),
        ("lower", (-0.02, -0.001), "supported"),
        ("lower", (0.001, 0.02), "contradicted"),
        ("same", (-0.004, 0.004), "supported"),
        ("same", (-0.02, -0.006), "contradicted"),
        ("same", (-0.02, 0.001), "undecided"),
        ("not lower", (-0.004, 0.2), "supported"),
        ("not lower", (-0.2, -0.006), "contradicted"),
        ("not lower", (-0.2, 0.2), "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval(expected, interval, verdict):
    assert claims.verdict(expected, 3, *interval) == verdict


@pytest.mark.parametrize("expected", ["higher", "lower", "same", "not lower"])
def test_no_replicate_is_not_run_and_one_decides_nothing(expected):
    nan = float("nan")
    assert claims.verdict(expected, 0, nan, nan) == "not run"
    assert claims.verdict(expected, 1, nan, nan) == "undecided"


def _table(rows, profile="quick"):
    made = []
    for r in range(3):
        made.append((DENSE.run("lenet_digits", profile, 0.0, r), 0.95))
        for s in settings.sparsities("lenet_digits", profile):
            made.append((AFTER.run("lenet_digits", profile, s, r), 0.95 if s < 0.9 else 0.90))
            made.append((Curve("snip").run("lenet_digits", profile, s, r), 0.93 + 0.001 * r))
            made.append((Curve("random").run("lenet_digits", profile, s, r), 0.88))
    return pd.DataFrame(rows(made), columns=list(COLUMNS))


def test_claims_of_section_4_on_made_up_results(rows):
    checked = claims.check(_table(rows), "lenet_digits", "quick", "4").set_index(
        ["claim", "subject"]
    )
    random = checked.loc[("early methods outperform random", "snip")]
    assert random["matching: verdict"] == random["extreme: verdict"] == "supported"
    assert random["n"] == 3
    (after,) = (
        row for (claim, subject), row in checked.iterrows()
        if claim.startswith("there is little distinction") and subject == "snip"
    )  # fmt: skip
    verdicts = ("contradicted", "contradicted")  # 1.9 points below it, then 3.1 above
    assert (after["matching: verdict"], after["extreme: verdict"]) == verdicts
    half = stats.t.ppf(0.975, 2) * 0.001 / 3**0.5
    assert after["matching: points"] == "-1.90"
    assert after["matching: 95 %"] == f"{-1.9 - 100 * half:+.2f} … {-1.9 + 100 * half:+.2f}"
    grasp = checked.loc[("early methods outperform random", "grasp")]
    assert grasp["matching: verdict"] == "not run"


def test_matching_sparsity_is_the_papers_where_printed_else_ours(rows):
    table = _table(rows)
    assert claims.matching_sparsity(table, "vgg16_cifar10")[0] == settings.sparsity(12)
    found, source = claims.matching_sparsity(table, "lenet_digits")
    assert found == settings.sparsity(9)
    assert "our results" in source


def test_lenet_is_held_to_its_own_appendix():
    table = pd.DataFrame(columns=list(COLUMNS))
    lenet = claims.check(table, "lenet_mnist", "paper", "4")
    others = claims.check(table, "vgg16_cifar10", "paper", "4")
    assert "early methods stay below magnitude after training" in set(others["claim"])
    assert "early methods stay below magnitude after training" not in set(lenet["claim"])
    alike = lenet[lenet["claim"].str.startswith("all methods perform similarly")]
    assert len(alike) == len(set(alike["subject"])) == 6  # pairs of four methods, each once
    assert not others["claim"].str.contains("K.1", regex=False).any()


def test_inverted_grasp_is_claimed_differently_for_lenet(rows):
    def expected(setting):
        table = pd.DataFrame(columns=list(COLUMNS))
        texts = claims.check(table, setting, "paper", "5")["claim"]
        return [t for t in texts if "GraSP" in t]

    assert expected("lenet_mnist") == ["inverting GraSP lowers accuracy (K.2)"]
    assert expected("vgg16_cifar10") == ["inverting GraSP does not change accuracy"]


def test_a_claim_may_differ_between_matching_and_extreme_sparsities(rows):
    """Shuffled SNIP on LeNet: the same up to 86.6 %, lower beyond; SynFlow beyond: no claim."""
    table = _table(rows)
    shuffled = []
    for s in settings.sparsities("lenet_digits", "quick"):
        for r in range(3):
            snip = 0.93 + 0.001 * r - (0.02 if s > 0.9 else 0)
            run = Curve("snip", "shuffle").run("lenet_digits", "quick", s, r)
            shuffled.append((run, snip))
            shuffled.append((Curve("synflow").run("lenet_digits", "quick", s, r), snip))
            shuffled.append((Curve("synflow", "shuffle").run("lenet_digits", "quick", s, r), 0.5))
    table = pd.concat([table, pd.DataFrame(rows(shuffled), columns=list(COLUMNS))])
    found = claims.check(table, "lenet_digits", "quick", "5").set_index(["claim", "subject"])
    snip = found.loc[("shuffling lowers accuracy only at higher sparsities (K.2)", "snip")]
    assert (snip["matching: verdict"], snip["extreme: verdict"]) == ("supported", "supported")
    (synflow,) = found[[s == "synflow" and "shuffling" in c for c, s in found.index]].to_dict(
        "records"
    )
    assert synflow["matching: verdict"] == "contradicted"
    assert synflow["extreme: verdict"] == "no claim"


def test_at_most_needs_the_whole_interval():
    """The interval of these ends at 1.0022 + 4.303 * 0.0002 / 3^0.5 = 1.0027."""
    values = pd.Series([1.0020, 1.0022, 1.0024])
    assert claims.at_most(values, 1.0028) == "supported"
    assert claims.at_most(values, 1.0026) == "undecided"
    assert claims.at_most(values, 1.0016) == "contradicted"
    assert claims.at_most(values[:1], 1.0028) == "undecided"


def test_every_section_has_claims():
    assert {claim.section for claim in claims.CLAIMS} == set(claims.SECTIONS)


def test_immunity_is_an_excess_over_chance():
    """Chance moves 0.02; magnitude 0.3 more, SNIP 0.01 more, and GraSP once 0 and once 0.1."""
    excess = {"magnitude": (0.3, 0.31, 0.3), "snip": (0.01, 0.012, 0.011), "grasp": (0, 0.1, 0.1)}
    rows = [
        ("before training", 0.5, method, "shuffle", replicate, chance + more)
        for method, values in ({"random": (0, 0, 0)} | excess).items()
        for replicate, (chance, more) in enumerate(zip((0.02, 0.03, 0.01), values, strict=True))
    ]
    columns = ["when", "sparsity", "method", "ablation", "replicate", "ks"]
    found = claims.immunity(pd.DataFrame(rows, columns=columns)).set_index("method")
    assert dict(found["verdict"]) == {
        "magnitude": "contradicted", "snip": "supported", "grasp": "undecided",
    }  # fmt: skip
    assert found.loc["magnitude", "excess"] == pytest.approx(0.91 / 3)
    assert set(found["n"]) == {3}
    alone = claims.immunity(pd.DataFrame(rows[::3], columns=columns))
    assert set(alone["verdict"]) == {"undecided"}
