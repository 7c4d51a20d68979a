"""Later methods: the paper's checks on all of them, its question answered in three sentences."""

import math
from collections.abc import Callable, Mapping, Sequence

from prunelib import settings
from prunelib.findings import decisions, judge, statistics
from prunelib.findings.judge import INITIAL, LAYERS, WEIGHTS, WHATEVER
from prunelib.findings.ledger import Entry
from prunelib.findings.measures import Results
from prunelib.findings.statistics import Effect, Region
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
# Methods that never see the weights of the network, which new ones cannot change, therefore; all
# but the last draw at random within layers, which shuffling does again.
DRAWN = ("erk", "smart_ratios", "igq")
BLIND = (*DRAWN, "ntk_sap")
# As accurate as what prunes after training: within what counts as matching full accuracy.
MATCHED = Region("not lower", 100 * statistics.TOLERANCE)
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

    The first is told of the sparsities up to the highest matching one and of those beyond, where
    networks are nearly empty in the end; of all together where no matching one is known.

    Args:
        found: as `entries` returns them. results, setting, profile: what they rest on.
        label: the name of a method for people.
    """
    early = entries(results, setting, profile, EARLY_METHODS)
    chosen = _chosen(found, early, results, setting, profile, label)
    return [
        f"Do they choose weights or layers? {chosen}",
        f"Do they beat random pruning in the same proportions? {_beating(found, early, label)}",
        f"How near do they come to the mark? {_nearest(results, setting, profile, label)}",
    ]


def agenda(results: Results, setting: str, profile: str, label: Label) -> str:
    """Whether a later method has answered the paper's question: chooses weights where networks
    match, and matches magnitude pruning after training; a sentence, "" where no matching sparsity
    is known or nothing was run.

    Args:
        results, setting, profile: what it rests on. label: the name of a method for people.
    """
    if settings.get(setting).matching is None:
        return ""
    point = settings.highest_matching(setting)
    samples = results.samples("accuracy", setting, profile)
    choosing, matching, run = [], [], 0
    for name in LATER:
        effect = samples.difference(Curve(name), AFTER, [point]).effect
        shuffled, _ = judge.ablated(name, results, setting, profile, "matching")
        run += math.isfinite(effect.mean) and shuffled.effect is not None
        if judge.holds(shuffled) is False and name not in DRAWN:
            choosing.append(name)
        if decisions.decide(decisions.Part(name, effect, MATCHED)).verdict == "supported":
            matching.append(name)
    if not run:
        return ""
    both = [name for name in choosing if name in matching]
    head = f"Yes: {_names(both, label)}" if both else "No later method is shown to have answered"
    at = f"{100 * point:.1f} %"
    return (
        f"**{head}.** Up to {at} sparsity {_names(choosing, label)} of {run} "
        f"{'loses' if len(choosing) < 2 else 'lose'} accuracy when shuffled within layers; at {at} "
        f"{_names(matching, label)} {'is' if len(matching) < 2 else 'are'} shown to be as accurate "
        f"as magnitude pruning after training, within {MATCHED.bound:g} points."
    )


def schedule(results: Results, setting: str, profile: str, label: Label) -> str:
    """Of which of the paper's methods a shorter schedule tells otherwise than the paper's; a
    sentence, "" if of none that both tell of."""
    if profile == "paper":
        return ""
    here, whole = (
        {n: _choice(own) for n, own in entries(results, setting, p, EARLY_METHODS).items()}
        for p in (profile, "paper")
    )
    told = [
        f"{label(n)}: here {here[n]}, there {whole[n]}"
        for n in here
        if here[n] != whole[n] and UNSURE not in (here[n], whole[n])
    ]
    if not told:
        return ""
    return (
        "At profile paper the same checks tell otherwise of the paper's own methods: "
        f"{'; '.join(told)}. What they tell of later ones here may be the shorter schedule's."
    )


def _names(names, label):
    return ", ".join(map(label, names)) or "none"


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


def _blind(entries):
    """The same of a method that new weights cannot change."""
    shuffled = judge.holds(_entry(entries, judge.SHUFFLED))
    return {True: LAYERS, False: WHATEVER}.get(shuffled, UNSURE)


def _chosen(found, early, results, setting, profile, label):
    asked = [n for n in found if n not in DRAWN]
    point, parts, wrong, null = settings.highest_matching(setting), [], 0, 0
    ranges = {f"Up to {100 * point:.1f} % sparsity": "matching", "Beyond it": "extreme"}
    if settings.get(setting).matching is None:
        ranges = {"Over all sparsities": "any"}
    for words, over in ranges.items():
        own = {n: judge.ablated(n, results, setting, profile, over) for n in (*found, *early)}
        ran = _effects(own, judge.SHUFFLED).keys() & _effects(own, judge.REINITIALISED).keys()
        told = _grouped({n: own[n] for n in asked if n in ran}, label)
        theirs = {n: _choice(own[n]) for n in early if n in ran}
        parts.append(_with_early([f"{words}: {told}"], theirs, label))
        cases = [_entry(own[n], c) for n, c in _NULL if n in ran]
        null += len(cases)
        wrong += sum(judge.holds(case) is False for case in cases)
    ran = _effects(found, judge.SHUFFLED).keys() & _effects(found, judge.REINITIALISED).keys()
    if not ran:
        return f"{YET}."
    drawn = [n for n in DRAWN if n in ran]
    if drawn:
        parts.append(f"{_names(drawn, label)}: layers by construction, as within them they draw.")
    if null:
        parts.append(
            f"(Where by construction nothing can matter, the checks say in {wrong} of {null} cases "
            "that it does.)"
        )
    if missing := _not_run([n for n in found if n not in ran], label):
        parts.append(f"N{missing[0][1:]}.")
    return " ".join(parts)


_NULL = [(n, c) for n in DRAWN for c in (judge.SHUFFLED, judge.REINITIALISED)]
_NULL += [(n, judge.REINITIALISED) for n in BLIND if n not in DRAWN]


def _grouped(own, label):
    """What methods choose, those that choose weights first."""
    shuffled, anew = _effects(own, judge.SHUFFLED), _effects(own, judge.REINITIALISED)
    said = {n: f"{shuffled[n]} shuffled, {anew[n]} reinitialised" for n in own}
    kinds = {n: _blind(own[n]) if n in BLIND else _choice(own[n]) for n in own}
    choosing = [n for n in kinds if kinds[n] == WEIGHTS]
    parts = ["**none is shown to choose weights**, so that both shuffling and new weights matter"]
    if not kinds:
        parts = ["none that could choose weights was run"]
    elif choosing:
        parts = [f"**weights, so that both matter: {_listed(choosing, label, said)}**"]
    for word, meaning in (_MEANS | {word: word for word in (*_HALF.values(), UNSURE)}).items():
        group = [n for n in kinds if kinds[n] == word]
        parts += [f"{meaning}: {_listed(group, label, said)}"] if group else []
    return "; ".join(parts)


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
    above = ours[best].mean > 0
    said = (
        f"{at} **{label(best)} {'lies highest' if above else 'comes nearest'}, "
        f"{ours[best].mean:+z.1f} points from magnitude pruning after training** (interval "
        f"{low:+z.1f} to {high:+z.1f}, n = {ours[best].n}: {reached:.1f} % against "
        f"{reached - ours[best].mean:.1f} %{', which is no ceiling here' if above else ''})"
    )
    if theirs:
        other = max(theirs, key=lambda n: theirs[n].mean)
        said += f"; of the paper's own {label(other)} does, {theirs[other].mean:+z.1f}"
    return "; ".join([said, *_not_run([n for n in LATER if n not in ours], label)]) + "."
