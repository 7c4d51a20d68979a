"""What Section 6 and Appendix F.2 say of the step at which a network is pruned (Figures 6 and 10):
claims about all steps of a range, and from which step on a difference is there."""

from collections.abc import Callable, Sequence

import pandas as pd

from prunelib import settings
from prunelib.findings import curves, statistics
from prunelib.findings.claims import REGIONS, speaks
from prunelib.findings.differences import Accuracies
from prunelib.findings.statistics import Effect, Region, verdict, verdict_of_all, worded
from prunelib.runs import EARLY_METHODS, REWOUND, Curve

Pair = Callable[[int | str], tuple[Curve, Curve]]  # the curves to compare at a step

# "Nearly halfway into training" (Section 1), as a share of the schedule: the least of those that
# Section 6 prints, 25K of 62,560 iterations on ResNet-20.
NEARLY_HALFWAY = 0.4
REACHED = "as accurate as lottery ticket rewinding to its step"
LOWERED = {"shuffling lowers accuracy": "shuffle", "reinitialising lowers accuracy": "reinit"}
# What the paper prints of magnitude, as published/frankle2021_steps.csv calls it.
EVENTS = {REACHED: "magnitude matches lottery ticket rewinding"}
EVENTS |= dict.fromkeys(LOWERED, "magnitude becomes sensitive to the ablations")
SENSITIVE = ("magnitude", "snip", "synflow")  # those that improve and become so


class Steps:
    """The differences of accuracies along the steps of Figures 6 and 10.

    Args:
        table: rows of one setting and profile. setting, profile: their names.
    """

    def __init__(self, table: pd.DataFrame, setting: str, profile: str):
        self.setting, self.profile = setting, profile
        self.steps = settings.steps(setting, profile)
        self.sparsity = settings.sparsity(settings.matching_level(setting)[0])
        self.last = settings.schedule(setting, profile).iterations
        # the unpruned network beside the others at their sparsity, to be compared with them
        dense = table[table["method"] == "dense"].assign(sparsity=self.sparsity)
        self._accuracies = Accuracies(pd.concat([table, dense]), 1 / curves.classes(setting))
        self._speaks = speaks(setting, profile, table, figure=6)

    def _effect(self, pair: Pair, step: int | str) -> Effect:
        ours, against = (curve.at(self.setting, self.profile) for curve in pair(step))
        return self._accuracies.difference(ours, against, [self.sparsity]).effect

    def first(self, pair: Pair, region: Region) -> tuple[int | None, int | None]:
        """Between which steps a difference comes into a region, to stay.

        Args:
            pair: the curves to compare, of a step; the second may be the same at all steps.
            region: what is waited for.

        Returns:
            the last step at which the results say that it is not there yet, and the first from
            which on they say at every step that it is; None where there is no such step. Steps are
            iterations, the last one for "end".
        """
        found = [
            (self.last if step == "end" else step, verdict(self._effect(pair, step), region))
            for step in self.steps
        ]
        not_yet = max((step for step, said in found if said == "not supported"), default=None)
        others = [step for step, said in found if said != "supported"]
        there = [step for step, _ in found if not others or step > max(others)]
        return not_yet, min(there, default=None)

    def all(self, pair: Pair, region: Region, steps: Sequence[int | str]) -> tuple[str, int]:
        """The verdict on a difference at all of some steps, and how many replicates it rests on."""
        effects = [self._effect(pair, step) for step in steps]
        said = worded(verdict_of_all(effects, region), self._speaks)
        return said, min((effect.n for effect in effects), default=0)


def check(table: pd.DataFrame, setting: str, profile: str) -> pd.DataFrame:
    """Hold against results what Sections 1 and 6 say of all steps.

    Random pruning is as accurate at every step as at initialisation. Magnitude, SNIP and SynFlow do
    not match the unpruned network unless pruning occurs nearly halfway into training.

    Args:
        table: rows of one setting and profile. setting, profile: their names.

    Returns:
        data frame: claim, subject, n, verdict.
    """
    along = Steps(table, setting, profile)

    def same(step):
        return Curve("random", "none", step, step), Curve("random")

    text = "random pruning is as accurate whenever it prunes (Section 6)"
    found = along.all(same, REGIONS["same"], along.steps[1:])
    rows = [(text, "random", *found)]
    early = [s for s in along.steps if s != "end" and s < NEARLY_HALFWAY * along.last]
    text = "full accuracy is not matched before nearly halfway into training (Section 1)"
    for m in SENSITIVE:

        def below(step, m=m):
            return Curve(m, "none", step, step), Curve("dense")

        rows.append((text, m, *along.all(below, REGIONS["lower"], early)))
    found = pd.DataFrame(rows, columns=["claim", "subject", "verdict", "n"])
    return found[["claim", "subject", "n", "verdict"]]


def onsets(table: pd.DataFrame, setting: str, profile: str) -> pd.DataFrame:
    """From which step on methods reach lottery ticket rewinding, and the ablations lower accuracy.

    Args:
        table: rows of one setting and profile. setting, profile: their names.

    Returns:
        data frame indexed by what is waited for and by method: "not before" and "from", the steps
        that `Steps.first` gives, "—" where it gives none; "from" as a share of the schedule; and
        the step that the paper prints of the setting, "" where it prints none.
    """
    along, rows = Steps(table, setting, profile), {}
    for method in EARLY_METHODS:

        def reached(step, m=method):
            return Curve(m, "none", step, step), REWOUND

        rows[REACHED, method] = along.first(reached, REGIONS["not lower"])
    for what, ablation in LOWERED.items():
        for method in EARLY_METHODS:

            def lowered(step, m=method, a=ablation):
                return Curve(m, a, step, step), Curve(m, "none", step, step)

            rows[what, method] = along.first(lowered, REGIONS["lower"])
    index = pd.MultiIndex.from_tuples(rows, names=["what", "method"])
    found = pd.DataFrame(list(rows.values()), index, columns=["not before", "from"], dtype=object)
    share = (100 * found["from"].astype(float) / along.last).map("{:.0f} %".format)
    share = share.where(found["from"].notna(), "")
    printed = statistics.published("frankle2021_steps", setting=setting)
    printed = printed.set_index("event")["step"]
    paper = [printed.get(EVENTS[what], "") if m == "magnitude" else "" for what, m in index]
    return found.fillna("—").assign(share=share, paper=paper)
