"""From which step on pruning is as good as it can be, and sensitive to the ablations (Section 6,
Appendix F.2; Figures 6 and 10)."""

from collections.abc import Sequence

import pandas as pd

from prunelib import settings
from prunelib.findings import statistics
from prunelib.findings.decisions import Part, decide
from prunelib.findings.measures import Results
from prunelib.findings.samples import Samples
from prunelib.findings.statistics import Region
from prunelib.runs import EARLY_METHODS, REWOUND, Curve

REACHED = "as accurate as lottery ticket rewinding to its step"
LOWERED = {"shuffling lowers accuracy": "shuffle", "reinitialising lowers accuracy": "reinit"}
# What the paper prints of magnitude, as published/frankle2021_steps.csv calls it.
EVENTS = {REACHED: "magnitude matches lottery ticket rewinding"}
EVENTS |= dict.fromkeys(LOWERED, "magnitude becomes sensitive to the ablations")
# As accurate is what counts as matching full accuracy elsewhere, and as a claim of these steps has
# it (6.20); a tenth of a point is the smallest difference that counts as one.
AS_ACCURATE, LOWER = Region("not lower", 100 * statistics.TOLERANCE), Region("lower", 0.1)


def first(
    samples: Samples, curve: Curve, against: Curve, region: Region, steps: Sequence[int]
) -> tuple[int | None, int | None]:
    """Between which steps the difference of two curves comes into a region, to stay.

    Args:
        samples: whose points are steps. curve, against: of Figures 6 and 10.
        region: what is waited for, in percentage points.
        steps: those of the figure, ascending; one that was not run may hide anything.

    Returns:
        the last step at which the results say that it is not there yet, and the first from which
        on they say at every step that it is; None where there is no such step.
    """
    effects = [samples.difference(curve, against, [step]).effect for step in steps]
    said = [
        (step, decide(Part(str(step), effect, region)).verdict)
        for step, effect in zip(steps, effects, strict=True)
    ]
    not_yet = max((step for step, word in said if word == "not supported"), default=None)
    others = [step for step, word in said if word != "supported"]
    there = [step for step, _ in said if not others or step > max(others)]
    return not_yet, min(there, default=None)


def onsets(results: Results, setting: str, profile: str) -> pd.DataFrame:
    """From which step on methods reach lottery ticket rewinding, and the ablations lower accuracy.

    Args:
        results: of a folder. setting, profile: names.

    Returns:
        data frame indexed by what is waited for and by method: "not before" and "from", the steps
        that `first` gives, "—" where it gives none; "from" as a share of the schedule; and the step
        that the paper prints of the setting, "" where it prints none.
    """
    samples = results.samples("accuracy", setting, profile, steps=True)
    schedule, rows = settings.schedule(setting, profile), {}
    steps = list(map(schedule.iteration, settings.steps(setting, profile)))
    for method in EARLY_METHODS:
        own = Curve(method, "none", "k", "k")
        rewound = REWOUND.at(setting, profile)
        rows[REACHED, method] = first(samples, own, rewound, AS_ACCURATE, steps)
        for what, ablation in LOWERED.items():
            ablated = Curve(method, ablation, "k", "k")
            rows[what, method] = first(samples, ablated, own, LOWER, steps)
    order = [(what, m) for what in (REACHED, *LOWERED) for m in EARLY_METHODS]
    index = pd.MultiIndex.from_tuples(order, names=["what", "method"])
    found = pd.DataFrame(
        [rows[key] for key in order], index, columns=["not before", "from"], dtype=object
    )
    share = (100 * found["from"].astype(float) / schedule.iterations).map("{:.0f} %".format)
    share = share.where(found["from"].notna(), "")
    printed = statistics.published("frankle2021_steps", setting=setting)
    printed = printed.set_index("event")["step"]
    paper = [printed.get(EVENTS[what], "") if m == "magnitude" else "" for what, m in index]
    return found.fillna("—").assign(share=share, paper=paper)
