"""A method of one's own is held against the paper's claims as the paper's methods are."""

import base64
import html
import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import mask, trained

from prunelib import grids, masks, networks, own, runs, scores, settings
from prunelib.errors import BadValueError, StoreError
from prunelib.findings import claims, judge, later, quantities
from prunelib.findings.measures import Results
from prunelib.grids import FIGURES
from prunelib.pages import judge as pages
from prunelib.pages import later as page_of_later
from prunelib.pages import verdicts
from prunelib.pages.page import Page
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import EARLY_METHODS, Curve

SMALL = ("lenet_digits", "smoke")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty store."""
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path / "results"))


@pytest.fixture(autouse=True)
def figures():
    """The figures that a test includes a method in are as they were after it."""
    before, own = dict(FIGURES), list(grids._own)
    yield
    FIGURES.clear()
    FIGURES.update(before)
    grids._own[:] = own


@pytest.fixture
def halved(registry):
    """A method that is registered for one test: half of each magnitude."""

    @scores.register("halved", needs_data=False)
    def halved(model, batch):
        return {n: model.get_parameter(n).detach().abs() / 2 for n in networks.prunable(model)}

    return scores.get("halved").name


def test_checks_are_the_papers_own_claims_with_the_method_in_them(halved):
    known = {c.id: c for c in claims.every()}
    found = judge.checks("halved")
    assert [c.id for c in found] == [c.id for c in judge.CHECKS]
    for check in found:
        assert {c.method for c in check.subject} == {halved}
        assert "halved" in check.text
        assert check.settings == ()  # the paper does not speak of it
        if check.id != judge.PROPORTIONS:
            theirs = known[check.id]
            assert (check.region, check.measure, check.over) == (
                theirs.region, theirs.measure, theirs.over,
            )  # fmt: skip
            (instead,) = (c.instead_of for c in judge.CHECKS if c.id == check.id)
            swapped = [halved if c.method == instead else c.method for c in theirs.reference]
            # the best early method may be the one whose place it takes
            others = [instead] if check.id == judge.BEST else []
            assert [c.method for c in check.reference] == others + swapped


def test_where_no_matching_sparsity_is_known_nothing_is_asked_of_it(halved, results):
    """Neither LeNet's figures nor a network of one's own say at which one it matches."""
    asked = {
        setting: {e.id for e in judge.entries("halved", Results(), setting, "quick")}
        for setting in ("resnet8_digits", "lenet_digits")
    }
    # and of three layers not which of them are late
    assert asked["resnet8_digits"] - asked["lenet_digits"] == {"4.50", "J.10"}


def test_a_whole_mask_has_no_check_on_its_inversion(registry):
    found = judge.checks("snip")
    assert [c.id for c in found if c.subject[0].ablation == "invert"] == ["5.68"]

    @masks.register("whole", needs_data=False)
    def whole(model, sparsity, seed):
        names = networks.prunable(model)
        return masks.from_densities(model, dict.fromkeys(names, 1 - sparsity), sparsity, seed)

    own = judge.checks("whole")
    assert len(own) == len(found) - 1
    assert not [c for c in own if c.subject[0].ablation == "invert"]


def _record(method, accuracies, setting="resnet8_digits", profile="quick"):
    """Records of Figure 3's and Figure 4's curves, an accuracy a curve; replicates lie apart by a
    twentieth of a point."""
    rows = []
    for curve, accuracy in accuracies.items():
        parsed = Curve.parse(curve) if isinstance(curve, str) else curve
        for sparsity in settings.sparsities(setting, profile):
            for replicate in range(3):
                run = parsed.run(setting, profile, sparsity, replicate)
                rows.append(trained(run, accuracy + replicate / 2000))
    Store().add(rows)
    return judge.entries(method, Results(), setting, profile)


PAPER = {"magnitude@end": 0.98, "random": 0.90, "snip": 0.95, "grasp": 0.95, "synflow": 0.95,
         "magnitude": 0.95}  # fmt: skip


@pytest.mark.parametrize(
    ("shuffled", "reinitialised", "first", "second"),
    [
        (0.95, 0.95, "**Layers**, as the paper's", "**No**"),
        (0.95, 0.93, "**Layers, and their initial values**", "**No**"),
        (0.93, 0.95, "**Weights, whatever their values**", "**Yes**"),
        (0.93, 0.93, "**Weights**: halved loses", "**Yes**"),
    ],
)
def test_answers_on_made_up_results(results, halved, shuffled, reinitialised, first, second):
    """Of a method three points below magnitude pruning after training."""
    own = {
        Curve(halved): 0.95,
        Curve(halved, "shuffle"): shuffled,
        Curve(halved, "reinit"): reinitialised,
    }
    found = _record("halved", PAPER | own)
    parts = judge.parts("halved", Results(), "resnet8_digits", "quick")
    answers = judge.answers(found, parts, "halved")
    assert list(parts) == ["Up to 86.6 % sparsity", "Beyond it"]
    assert [f"{words}: {first}" in answers[0] for words in parts] == [True, True]
    assert second in answers[1]
    assert f"{100 * (0.95 - shuffled):+.1f} points" in answers[1]
    assert "**-3.0 points** from magnitude pruning after training" in answers[2]


def test_answers_of_nothing(results, halved):
    found = judge.entries("halved", Results(), "resnet8_digits", "quick")
    assert {e.verdict for e in found} == {"not run"}
    parts = judge.parts("halved", Results(), "resnet8_digits", "quick")
    answers = judge.answers(found, parts, "halved")
    assert all("It cannot be told yet" in answer for answer in answers)
    assert not any("would tell" in answer for answer in answers)


@pytest.mark.parametrize(
    ("effect", "told"),
    [
        # 5.03 allows -0.3 and more: 0.15 from that, of which the half-width of 0.3 is twice as
        # much; 3 * (1.43 * 2)^2 = 24.5
        (-0.15, "It cannot be told yet; if this is the effect, about 25 replicates would tell"),
        (-0.45, "It cannot be told yet; if this is the effect, about 25 replicates would tell"),
        (-0.29, "It cannot be told yet, and hardly by 50 replicates"),
        (-0.30, "It cannot be told yet"),
    ],
)
def test_what_cannot_be_told_says_how_many_replicates_would(effect, told):
    about = {"id": judge.SHUFFLED, "verdict": "undecided", "replicates": 3}
    open_ = SimpleNamespace(**about, effect=effect, low=effect - 0.3, high=effect + 0.3)
    decided = SimpleNamespace(id=judge.REINITIALISED, verdict="agrees", effect=0, low=-1, high=1)
    assert judge._chosen((open_, decided), "halved").startswith(f"{told} (shuffled {effect:+.1f}")


def test_the_number_of_replicates_that_would_tell_does_so_in_four_of_five_cases():
    """Simulated with a known spread: of effects of 0.15 from the bound, of as many as are said."""
    stream, entry = np.random.default_rng(0), {"id": judge.SHUFFLED, "replicates": 10}
    half = 1.96 * 0.3 / 10**0.5
    count = judge.replicates_needed(
        SimpleNamespace(**entry, effect=-0.15, low=-0.15 - half, high=-0.15 + half)
    )
    means = -0.15 + 0.3 / count**0.5 * stream.normal(size=4000)
    assert 0.77 < np.mean(means - 1.96 * 0.3 / count**0.5 > -0.3) < 0.86


def test_a_method_that_only_fails_at_high_sparsities_fails_before_anything_is_trained(
    registry, results
):
    @masks.register("steep", needs_data=False)
    def steep(model, sparsity, seed):
        densities = dict.fromkeys(networks.prunable(model), 1 - min(sparsity, 0.9))
        return masks.from_densities(model, densities, sparsity, seed)

    with pytest.raises(BadValueError, match=r"^method 'steep': the densities keep .* 0\.9"):
        pages.report("steep", *SMALL)
    assert Store().pairs() == []


def test_a_range_of_which_a_profile_has_no_sparsity_is_not_asked_about():
    """ResNet-18's highest matching one is 96.5 %, the highest of `coarse` 96.5 %; `smoke` has none
    of ResNet-50's, of 67.2 %, and above."""
    assert list(judge.ranges("resnet18_tinyimagenet", "coarse")) == ["Up to 96.5 % sparsity"]
    assert list(judge.ranges("resnet50_imagenet", "smoke")) == ["Beyond 67.2 % sparsity"]
    assert list(judge.ranges("lenet_mnist", "paper")) == ["Over all sparsities"]


def test_a_methods_figures(halved):
    assert grids.include("halved") == halved
    assert grids.include("halved") == halved  # once
    assert [c.method for c in FIGURES[3].panels[""]].count(halved) == 1
    assert FIGURES[3].panels[""][-1] == runs.RANDOM
    assert {c.prune_at for c in FIGURES[6].panels[""] if c.method == halved} == {"k"}
    kinds = [c.ablation if c.init == "he" else c.init for c in FIGURES[halved].panels[halved]]
    assert kinds == ["none", "shuffle", "reinit", "invert", "fixed_variance"]
    assert grids.compared() == (*EARLY_METHODS, halved, "random")
    with pytest.raises(BadValueError, match="'snip' is one that the paper's figures show"):
        grids.include("snip")


def test_a_method_that_was_changed_takes_the_place_of_the_old_one(results, halved):
    @scores.register("halved", needs_data=False)
    def changed(model, batch):
        return {name: z / 2 + 1 for name, z in scores.magnitude(model).items()}

    grids.include(halved)
    newer = grids.include("halved")
    assert newer != halved
    assert grids.compared() == (*EARLY_METHODS, newer, "random")
    assert halved not in FIGURES
    for figure in (3, 6):
        methods = [c.method for c in FIGURES[figure].panels[""]]
        assert (methods.count(halved), methods.count(newer)) == (0, 1)


def test_the_later_methods_are_the_figure_of_their_notebook():
    """What `include` would give each of them, and so the Runs that judging it trains."""
    for method in grids.LATER:
        assert grids.include(method) == method
        assert FIGURES[method].panels[method] == FIGURES["Y"].panels[method]
    needed = set(grids.figure_runs("Y", *SMALL))
    assert needed == {r for m in grids.LATER for r in grids.figure_runs(m, *SMALL)}
    assert {r.method for r in needed if r.ablation == "invert"} == set(grids.LATER[4:])


def _answers(*about):
    """Each question and its answer in one text."""
    said = later.answers(later.entries(*about), *about, str.upper)
    return [" ".join((asked, *parts)) for asked, parts in said]


def _later(**accuracies):
    """Records of two later methods and of the paper's, and what is answered."""
    plain = {Curve(m): a for m, a in accuracies.items()}
    moved = {
        Curve(m, ablation): a - loss
        for m, a in accuracies.items()
        for ablation, loss in (("shuffle", 0.02 * (m == "phew")), ("reinit", 0.03 * (m == "phew")))
    }
    early = {Curve("snip", "shuffle"): 0.95, Curve("snip", "reinit"): 0.92}
    _record("phew", PAPER | early | plain | moved)
    about = (Results(), "resnet8_digits", "quick")
    return _answers(*about)


def test_the_agenda_is_answered_over_all_later_methods(results):
    first, second, third = _later(phew=0.97, erk=0.93)
    rest = "not run: SMART_RATIOS, IGQ, SYNFLOW_L2, FORCE, PROSPR, NTK_SAP"
    both = "PHEW (-2.0 shuffled, -3.0 reinitialised)"
    weights = f"**weights and their values, so that both matter: {both}**"
    theirs = "By the same checks, of the paper's own: layers and their initial values: SNIP."
    assert first == (
        f"Do they choose weights or layers? Up to 86.6 % sparsity: {weights}. {theirs} "
        f"Beyond it: {weights}. {theirs} ERK: layers by construction, as within them they draw. "
        "Of 4 cases in which by construction nothing can matter, the checks say so in 4, that it "
        "does in 0, and leave 0 undecided. "
        f"N{rest[1:]}."
    )
    assert "**Yes: PHEW (+2.0)**; no: ERK (" in second
    assert second.endswith(f"{rest}. By the same checks, of the paper's own: no: SNIP.")
    assert (
        "At 86.6 % sparsity (the highest matching sparsity) **PHEW comes nearest, -1.0 points"
        in third
    )
    assert re.search(
        r"n = 3: 97\.[01] % against 98\.[01] %\); of the paper's own \w+ comes nearest, -3", third
    )
    assert third.endswith(f"{rest}.")


def test_the_agenda_is_not_answered_by_what_chooses_layers(results):
    first, second, _ = _later(erk=0.93)
    assert "% sparsity: none was run that could choose weights. By the same" in first
    assert "? **None is shown to**; no: ERK (" in second


def test_the_agenda_of_nothing(results):
    about = (Results(), "resnet8_digits", "quick")
    said = _answers(*about)
    assert all("? It cannot be told yet" in sentence for sentence in said)
    assert later.agenda(*about, str.upper) == ""


ANSWERED = "Yes: PHEW"
ABLE = "Up to 86.6 % sparsity, of 1 that do not draw at random within layers"
OPEN = "No later method is shown to have answered"


@pytest.mark.parametrize(
    ("accuracy", "loss", "said"),
    [
        (0.98, 0.02, f"**{ANSWERED}.** {ABLE}, PHEW is shown to lose"),
        (0.98, 0.0, f"**{OPEN}.** {ABLE}, none is shown to lose"),
        (0.97, 0.02, f"**{OPEN}.** {ABLE}, PHEW is shown to lose"),
    ],
)
def test_the_question_is_answered_by_who_chooses_weights_and_matches(results, accuracy, loss, said):
    """Magnitude pruning after training has 98 %; within 0.25 points counts as matching it."""
    shuffled = {Curve("phew", "shuffle"): accuracy - loss, Curve("phew", "reinit"): accuracy}
    _record("phew", PAPER | {Curve("phew"): accuracy} | shuffled)
    told = later.agenda(Results(), "resnet8_digits", "quick", str.upper)
    assert told.startswith(said)
    matching = "PHEW is" if accuracy == 0.98 else "none is"
    assert f"; at 86.6 %, of 1, {matching} shown to be as accurate" in told
    assert told.endswith("within 0.25 points.")


def test_the_question_is_not_put_to_those_that_draw(results):
    """ERK loses by accident when it draws again, and is not one of those that could choose."""
    _record("erk", PAPER | {Curve("erk"): 0.98, Curve("erk", "shuffle"): 0.96})
    told = later.agenda(Results(), "resnet8_digits", "quick", str.upper)
    assert "of 0 that do not draw at random within layers, none is shown" in told
    assert "of 1, ERK is shown to be as accurate" in told


def test_who_lies_above_the_mark_is_not_called_nearest(results):
    """ProsPr lies five points above magnitude pruning after training, SNIP one below."""
    both = {"magnitude@end": 0.90, "snip": 0.89, Curve("prospr"): 0.95, Curve("erk"): 0.905}
    _record("prospr", PAPER | both)
    about = (Results(), "resnet8_digits", "quick")
    third = _answers(*about)[2]
    assert "**PROSPR lies highest, +5.0 points from magnitude pruning after training**" in third
    theirs = "of the paper's own MAGNITUDE lies highest, +5.0"
    assert f"which is no ceiling here); {theirs}" in third


def test_new_weights_say_nothing_of_a_method_that_sees_none(results):
    """NTK-SAP's accuracy falls with new weights by accident, and the check says that it does."""
    own = {Curve("ntk_sap"): 0.97, Curve("ntk_sap", "shuffle"): 0.95}
    _record("ntk_sap", PAPER | own | {Curve("ntk_sap", "reinit"): 0.93})
    about = (Results(), "resnet8_digits", "quick")
    first = _answers(*about)[0]
    assert "weights whatever their values, so that only shuffling matters: NTK_SAP" in first
    assert "the checks say so in 0, that it does in 2, and leave 0 undecided" in first


def test_a_shorter_schedule_that_tells_otherwise_of_the_papers_methods_is_named(results):
    plain = {Curve("snip"): 0.95, Curve("snip", "reinit"): 0.95}
    _record("snip", plain | {Curve("snip", "shuffle"): 0.95}, profile="paper")
    for profile in ("quick", "coarse"):
        _record("snip", plain | {Curve("snip", "shuffle"): 0.93}, profile=profile)
    # of GraSP one says what shuffling does, the other what new weights do: no contradiction
    _record("grasp", {Curve("grasp"): 0.95, Curve("grasp", "shuffle"): 0.95}, profile="paper")
    _record("grasp", {Curve("grasp"): 0.95, Curve("grasp", "reinit"): 0.93}, profile="quick")
    told = later.schedule(Results(), "resnet8_digits", "quick", str.upper)
    assert "methods (SNIP: here weights, whatever their values, there layers). What" in told
    for profile in ("paper", "coarse"):  # the whole schedule
        assert later.schedule(Results(), "resnet8_digits", profile, str.upper) == ""


def test_what_is_compared_at_some_sparsities_alone_is_said_of_the_others(results):
    """Beyond the highest matching sparsity PHEW's networks all guess."""
    limit, at = settings.highest_matching("resnet8_digits"), ("resnet8_digits", "quick")
    _record("snip", PAPER)
    Store().add(
        trained(Curve("phew", ablation).run(*at, s, r), 0.95 + r / 2000 if s <= limit else 0.05)
        for ablation in ("none", "shuffle", "reinit")
        for s in settings.sparsities(*at)
        for r in range(3)
    )
    told = _answers(Results(), *at)[0]
    assert "Beyond it: nothing to compare: PHEW. Not run: ERK" in told


def test_a_profile_without_the_matching_sparsity_says_so(results):
    """ResNet-20's is the sixth, and the profile coarse has the third and the ninth."""
    about = (Results(), "resnet20_cifar10", "coarse")
    third = _answers(*about)[2]
    assert third.endswith("? Profile coarse has no networks at 73.8 % sparsity.")


@pytest.mark.usefixtures("results", "registry")
def test_a_setting_without_sparsities_at_a_profile_is_told_nothing():
    """Its highest is the fifth, and smoke begins with the sixth."""
    own.load(Path(__file__).with_name("own_file.py"))
    values = {"network": "own_net", "dataset": "own_data", "examples": 200, "epochs": 10}
    name = "own_low"
    settings.register(name, **values, batch_size=16, learning_rate=0.05, highest=5)
    about = "own_score", Results(), settings.get(name).name, "smoke"
    answers = judge.answers(judge.entries(*about), judge.parts(*about), "own_score")
    assert all("It cannot be told yet" in answer for answer in answers)


def test_a_table_has_a_row_for_each_check_of_which_anything_was_run(results):
    page = Page("resnet8_digits", "quick", train=False, figure="Y")
    assert page_of_later.table(page).data.strip() == "<p>Not run.</p>"
    assert "Nothing of these methods was run elsewhere" in page_of_later.elsewhere(page).data
    _later(phew=0.97, erk=0.93)
    page = Page("resnet8_digits", "quick", train=False, figure="Y")
    shown = page_of_later.table(page).data
    checks = re.findall(r"<tr><td>([^<]+)</td><th>([^<]+)</th>", shown)
    assert (
        "5.03",
        "The method maintains or improves its accuracy when shuffled within layers",
    ) in checks
    assert "6.05" not in dict(checks)  # Figure 6, of which nothing was run
    cells = re.search(r"<tr><td>5.03.*?</tr>", shown, re.DOTALL)[0]
    assert cells.count("<small>not run</small>") == 6
    assert cells.count(">-2 points<br><small>differs</small>") == 1
    other = Page("resnet8_digits", "paper", train=False, figure="Y")
    folded = page_of_later.elsewhere(other).data
    assert folded.count("<details>") == 1
    assert "<b>weights and their values, so that both matter: PHEW" in folded
    assert "lack some of their records" not in folded
    assert "<b>No later method is shown to have answered.</b> Up to 86.6 % sparsity, of 1" in folded


def test_what_is_read_off_masks_is_shown_once(results):
    """Two masks of ERK, and at a lower profile a network of the paper's alone."""
    matching = settings.sparsity(6)
    kept = tuple(n // 2 for n, _ in quantities.layers("resnet20_cifar10").values())
    made = [Curve("erk").run("resnet20_cifar10", "paper", matching, r) for r in (0, 1)]
    Store(kind=MASK).add(mask(run, layers=kept) for run in made)
    Store().add([trained(Curve("snip").run("resnet20_cifar10", "quick", matching, 0))])
    page = Page("resnet8_digits", "quick", train=False, figure="Y")
    folded = page_of_later.elsewhere(page).data
    assert folded.count("<details>") == 1
    said = r"nothing of these methods was trained here\. (\d+) of the \1 checks that were run lack"
    assert re.search(rf"<p>Read off masks: {said} some of their records\.</p>", folded)
    assert "ResNet-20 on CIFAR-10, profile paper" in folded


def test_a_report_from_nothing(results, halved, tmp_path):
    made = pages.report("halved", *SMALL, folder=tmp_path, progress=False)
    assert made.judgement.missing == 0
    assert made.caution.startswith("After 10 iterations of training the answers say nothing of")
    assert made.caution in str(made)
    assert made.evidence[2].startswith("Trained with ")
    assert made.judgement.source == halved.removeprefix("halved_")
    assert all(drawing.figure is not None for drawing in made.drawings)
    text = made.path.read_text()
    assert made.path.name == "halved-lenet_digits-smoke.html"
    images = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)"', text)
    assert len(images) == text.count("<img") == len(made.drawings)
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for _, data in images)
    assert not re.search(r'(src|href)="(?!data:|https://arxiv)', text)  # nothing beside the page
    assert "abs() / 2" in text  # the source
    read = json.loads(made.path.with_suffix(".json").read_text())
    assert judge.Judgement.model_validate(read) == made.judgement
    assert [e["id"] for e in read["entries"]] == [e.id for e in made.judgement.entries]
    # each check with its numbers, and what half and twice the margin would have said
    shown = re.findall(r'<tr><td class="claim">.*?</tr>', text)
    assert len(shown) == len(made.judgement.entries)
    for row, e in zip(shown, made.judgement.entries, strict=True):
        cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall("<td.*?</td>", row)]
        numbers = verdicts.effect(e)
        numbers += "" if e.low is None else f" ({verdicts.interval(e)})"
        margins = f"{e.half}; {e.twice}" if e.half else ""
        said = [html.unescape(cell) for cell in cells]
        allowed = e.allowed + (f": {verdicts.short(e)}" if e.short else "")
        assert said == [e.claim, e.verdict, numbers, allowed, margins, e.alone, e.id]
    # in words: what each figure is about, what it rests on and which lines it has
    said = dict(re.findall(r'<img alt="([^(]+) \(Figure \d+\)\. ([^"]+)"', text))
    assert len(said) == len(made.drawings)
    accuracy = said["Accuracy against sparsity"]
    assert accuracy.startswith("LeNet-300-100 on digits")
    assert "Profile smoke; 1 replicate" in accuracy
    assert accuracy.endswith("halved (n = 1); Random (n = 1)")


def test_a_report_without_training_says_what_is_missing(results, halved, tmp_path):
    made = pages.report("halved", *SMALL, folder=tmp_path, train=False)
    wanted = pages.trained_runs("halved", *SMALL), pages.mask_runs("halved", *SMALL)
    assert made.judgement.missing == sum(map(len, wanted))
    text = made.path.read_text()
    assert "of the networks and masks that these checks take are not there" in text
    assert text.count("<p>Not run.</p>") == len(made.drawings)


def test_a_report_shows_its_answers_and_nothing_else(results, halved):
    made = pages.report("halved", *SMALL, train=False)
    first, *answers = repr(made).splitlines()
    assert first.startswith("halved on LeNet-300-100 on digits, profile smoke, ")
    assert answers == made.judgement.answers


def test_a_method_of_this_package_needs_no_file(results, tmp_path):
    made = pages.report("erk", *SMALL, folder=tmp_path, train=False)
    assert made.path.name == "erk-lenet_digits-smoke.html"
    assert made.judgement.source == ""
    assert made.judgement.missing
    assert "a digest of its source" not in made.path.read_text()


def test_a_method_that_changes_its_mind_is_not_trained(results, registry, tmp_path):
    calls = []

    @scores.register("fickle", needs_data=False)
    def fickle(model, batch):
        calls.append(1)
        sign = (-1) ** len(calls)
        return {n: sign * model.get_parameter(n).detach() for n in networks.prunable(model)}

    with pytest.raises(BadValueError, match="'fickle' gives something else the second time"):
        pages.report("fickle", *SMALL, folder=tmp_path)
    assert not list(tmp_path.glob("*.html"))
    assert not grids._own


def test_a_method_that_takes_longer_than_the_budget_is_stopped(results, registry, tmp_path):
    @scores.register("asleep", needs_data=False)
    def asleep(model, batch):
        time.sleep(600)

    began = time.monotonic()
    before = signal.setitimer(signal.ITIMER_REAL, 1000)
    pages.report("erk", *SMALL, train=False)  # without a budget, a timer of others runs on
    with pytest.raises(BadValueError, match="'asleep' had not pruned a network twice when the"):
        pages.report("asleep", *SMALL, folder=tmp_path, minutes=0.01)
    assert signal.setitimer(signal.ITIMER_REAL, *before)[0] > 600  # and so it does after one
    with pytest.raises(BadValueError, match="minutes=inf: give a number above 0"):
        pages.report("asleep", *SMALL, folder=tmp_path, minutes=math.inf)
    assert time.monotonic() - began < 300
    assert not list(tmp_path.glob("*.html"))


def test_where_no_page_can_be_written_nothing_is_trained(results, halved, tmp_path):
    (tmp_path / "page").write_text("a file")
    with pytest.raises(StoreError, match="page is a file, where a folder of pages is to be"):
        pages.report("halved", *SMALL, folder=tmp_path / "page")


def test_train_and_measure_share_one_budget(results, halved, monkeypatch):
    given = []
    monkeypatch.setattr(pages.engine, "train", lambda *a, minutes, **o: given.append(minutes))
    monkeypatch.setattr(pages.engine, "measure", lambda *a, minutes, **o: given.append(minutes))
    clock = iter([0.0, 60.0, 240.0])
    monkeypatch.setattr(pages, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    pages.report("halved", *SMALL, minutes=3)
    assert given == [2.0, 0.01]  # a minute for the check, three for the training


def test_a_file_may_be_the_first_to_need_the_later_methods(tmp_path):
    """In a process that has not imported them: they are not taken for the file's own."""
    (tmp_path / "mine.py").write_text(
        "from prunelib import scores\n"
        "@scores.register('mine', needs_data=False)\n"
        "def mine(model, batch):\n    return {}\n"
    )
    code = (
        "from prunelib import own\n"
        f"print(*own.load({str(tmp_path / 'mine.py')!r}).methods)\n"
        "from prunelib import scores\nprint(scores.get('erk').name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mine, erk = done.stdout.split()
    assert mine.startswith("mine_")
    assert erk == "erk"


@pytest.mark.parametrize(
    ("shuffled", "reinitialised", "said"),
    [
        ("differs", "undecided", "weights, and whether their values matter cannot be told"),
        ("supported", "undecided", "layers, and whether their initial values matter cannot be"),
        ("undecided", "agrees", "new weights do not change it, and whether shuffling does cannot"),
        ("undecided", "undecided", "it cannot be told"),
        ("differs", "differs", judge.WEIGHTS),
    ],
)
def test_what_is_known_of_one_ablation_is_said_where_the_other_is_undecided(
    shuffled, reinitialised, said
):
    pairs = ((judge.SHUFFLED, shuffled), (judge.REINITIALISED, reinitialised))
    assert later._choice([SimpleNamespace(id=i, verdict=v) for i, v in pairs]).startswith(said)
