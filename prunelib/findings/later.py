"""Later methods: the paper's checks on all of them, its question answered in three sentences."""

import math
from collections.abc import Callable, Mapping, Sequence

from prunelib import settings
from prunelib.findings import judge
from prunelib.findings.judge import INITIAL, LAYERS, WEIGHTS, WHATEVER
from prunelib.findings.ledger import Entry
from prunelib.findings.measures import Results
from prunelib.findings.statistics import Effect
from prunelib.grids import LATER
from prunelib.runs import AFTER, EARLY_METHODS, Curve

NOT_RUN = "not run"
UNSURE, YET = "it cannot be told", "It cannot be told yet"
# Whether shuffling its mask within layers harms a method, and drawing the weights anew changes it,
# by what it chooses.
_MEANS = {
    WHATEVER: "weights whatever their values, so that only shuffling matters",
    INITIAL: "layers and their initial values, so that only new weights matter",
    LAYERS: "layers, so that neither matters",
}
# Where only one of the two can be told.
_HALF = {
    (False, None): "weights, and whether their values matter cannot be told",
    (True, None): "layers, and whether their initial values matter cannot be told",
    (None, False): "new weights change it, and whether shuffling does cannot be told",
    (None, True): "new weights do not change it, and whether shuffling does cannot be told",
}
Label = Callable[[str], str]


def entries(
    results: Results, setting: str, profile: str, names: Sequence[str] = LATER
) -> dict[str, list[Entry]]:
    """The paper's checks on some methods, see `judge.entries`."""
    return {name: judge.entries(name, results, setting, profile) for name in names}


def answers(
    found: Mapping[str, Sequence[Entry]],
    results: Results,
    setting: str,
    profile: str,
    label: Label,
) -> list[str]:
    """Which methods choose weights, which beat random pruning in the same proportions, and how near
    the best comes to magnitude pruning after training; each a sentence, with what the same checks
    say of the paper's own methods.

    Args:
        found: as `entries` returns them. results, setting, profile: what they rest on.
        label: the name of a method for people.
    """
    early = entries(results, setting, profile, EARLY_METHODS)
    shuffled = _shuffled(results, setting, profile)
    return [
        f"Do they choose weights or layers? {shuffled}{_chosen(found, early, label)}",
        f"Do they beat random pruning in the same proportions? {_beating(found, early, label)}",
        f"How near do they come to the mark? {_nearest(results, setting, profile, label)}",
    ]


def _entry(own, check):
    return next(e for e in own if e.id == check)


def _effects(found, check):
    """Of each method of which a check was run, its effect in points."""
    own = {name: _entry(entries, check).effect for name, entries in found.items()}
    return {name: f"{e:+z.1f}" for name, e in own.items() if e is not None}


def _choice(entries):
    """What a method chooses, as far as that can be told."""
    known = tuple(judge.holds(_entry(entries, c)) for c in (judge.SHUFFLED, judge.REINITIALISED))
    return judge.choice(entries) or _HALF.get(known, UNSURE)


def _chosen(found, early, label):
    shuffled, anew = _effects(found, judge.SHUFFLED), _effects(found, judge.REINITIALISED)
    said = {n: f"{shuffled[n]} shuffled, {anew[n]} reinitialised" for n in shuffled if n in anew}
    kinds = {n: _choice(found[n]) for n in said}
    choosing = [n for n in kinds if kinds[n] == WEIGHTS]
    parts = ["**None is shown to choose weights**, so that both shuffling and new weights matter"]
    if not kinds:
        parts = [YET]
    elif choosing:
        parts = [f"**Weights, so that both matter: {_listed(choosing, label, said)}**"]
    for word, meaning in (_MEANS | {word: word for word in (*_HALF.values(), UNSURE)}).items():
        own = [n for n in kinds if kinds[n] == word]
        parts += [f"{meaning}: {_listed(own, label, said)}"] if own else []
    parts += _not_run([n for n in found if n not in said], label)
    ran = _effects(early, judge.SHUFFLED).keys() & _effects(early, judge.REINITIALISED).keys()
    theirs = {n: _choice(early[n]) for n in early if n in ran}
    return _with_early(parts, theirs, label)


def _shuffled(results, setting, profile):
    """By how much shuffling changes them at the lower and at the higher sparsities: an average over
    all of them may come from networks that are nearly empty."""
    point = settings.highest_matching(setting)
    samples = results.samples("accuracy", setting, profile)
    grid = settings.sparsities(setting, profile)

    def ends(points):
        effects = [
            samples.difference(Curve(n, "shuffle"), Curve(n), points).effect.mean for n in LATER
        ]
        known = [mean for mean in effects if math.isfinite(mean)]
        return f"{min(known):+z.1f} to {max(known):+z.1f}" if known else ""

    below, above = (ends([s for s in grid if (s <= point) == low]) for low in (True, False))
    if not (below and above):
        return ""
    return (
        f"Up to {100 * point:.1f} % sparsity shuffling changes the later methods by {below} points "
        f"on average, beyond it by {above}. Over all sparsities: "
    )


def _beating(found, early, label):
    words = {True: "yes", False: "no", None: UNSURE}

    def told(methods):
        said = _effects(methods, judge.PROPORTIONS)
        return said, {n: words[judge.holds(_entry(methods[n], judge.PROPORTIONS))] for n in said}

    said, verdicts = told(found)
    parts = [] if "yes" in verdicts.values() else ["**None is shown to**" if verdicts else YET]
    for word in words.values():
        own = _listed([n for n in verdicts if verdicts[n] == word], label, said)
        parts += [f"**Yes: {own}**" if word == "yes" else f"{word}: {own}"] if own else []
    parts += _not_run([n for n in found if n not in said], label)
    return _with_early(parts, told(early)[1], label)


def _listed(names, label, said):
    return ", ".join(f"{label(n)} ({said[n]})" for n in names)


def _not_run(names, label):
    return [f"{NOT_RUN}: {', '.join(map(label, names))}"] if names else []


def _with_early(parts, theirs, label):
    groups = {word: [n for n in theirs if theirs[n] == word] for word in theirs.values()}
    said = "; ".join(f"{word}: {', '.join(map(label, own))}" for word, own in groups.items())
    text = "; ".join(parts)
    return f"{text}. By the same checks, of the paper's own: {said}." if said else f"{text}."


def _nearest(results, setting, profile, label):
    """The later method and the paper's early one that come nearest to the mark at the highest
    matching sparsity."""
    level, source = settings.matching_level(setting)
    point = settings.sparsity(level)
    at = f"At {100 * point:.1f} % sparsity ({source.partition(' (')[0]})"
    samples = results.samples("accuracy", setting, profile)

    def effects(names: Sequence[str], against: Curve | None) -> dict[str, Effect]:
        compared = {n: samples.difference(Curve(n), against, [point]).effect for n in names}
        return {n: e for n, e in compared.items() if math.isfinite(e.mean)}

    ours, theirs = (effects(names, AFTER) for names in (LATER, EARLY_METHODS))
    if not ours:
        return f"{YET}."
    best = max(ours, key=lambda n: ours[n].mean)
    low, high = ours[best].interval()
    reached = effects([best], None)[best].mean
    said = (
        f"{at} **{label(best)} comes nearest, {ours[best].mean:+z.1f} points from magnitude "
        f"pruning after training** (interval {low:+z.1f} to {high:+z.1f}, n = {ours[best].n}: "
        f"{reached:.1f} % against {reached - ours[best].mean:.1f} %)"
    )
    if theirs:
        other = max(theirs, key=lambda n: theirs[n].mean)
        said += f"; of the paper's own {label(other)} does, {theirs[other].mean:+z.1f}"
    return "; ".join([said, *_not_run([n for n in LATER if n not in ours], label)]) + "."
