"""Judge: the claims of the paper about its own methods, put to another one.

`checks` takes claims that the ledger has of SNIP or SynFlow, puts another method in their place and
leaves all else as it is: what is compared, where, by which margin. As the paper does not speak of
that method, what comes out agrees with what it says of its own, or differs. `answers` says in three
parts what comes out; a `Judgement` holds everything, for people's pages and for programs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, Field

from prunelib import scores, settings
from prunelib.findings import claims, kinds, ledger, quantities
from prunelib.findings.claims import Claim
from prunelib.findings.ledger import Entry
from prunelib.findings.measures import Results
from prunelib.runs import Curve


@dataclass(frozen=True)
class Check:
    """A claim of claims.csv, the method in it that gives its place up, and the claim's words; where
    the paper has a check in another form, `claim` is the one that lends it its margin."""

    id: str
    instead_of: str
    words: str
    claim: str = ""


SHUFFLED, REINITIALISED, MARK, LATE = "5.03", "5.60", "4.47", "J.10"  # of SNIP, in claims.csv
BEST = "1.07"  # compares with the other early methods, of which the one displaced is one then
PROPORTIONS = "same proportions"  # the one check that the paper has in another form
MANY = 50  # replicates: more than anybody trains for a check
# An effect is found in four of five cases, not in one of two, where it is this many half-widths of
# its interval away from the bound: (1.96 + 0.84) / 1.96 of the normal distribution.
POWER = 1.43
CHECKS = (
    Check("4.43", "snip", "{} is more accurate than random pruning"),
    Check(
        PROPORTIONS,
        "snip",
        "{} is more accurate than random pruning in its own proportions, which its shuffle is",
        "4.43",
    ),
    Check(BEST, "snip", "{} lies near the best of the paper's early methods, over sparsities"),
    Check(MARK, "snip", "{} is less accurate than magnitude pruning after training"),
    Check(
        "4.50",
        "snip",
        "At the highest sparsity at which magnitude pruning after training matches full accuracy, "
        "{} does not",
    ),
    Check(SHUFFLED, "snip", "{} maintains or improves its accuracy when shuffled within layers"),
    Check(REINITIALISED, "snip", "{} is unaffected by reinitialisation"),
    Check("5.20", "snip", "{} is as accurate when every layer is initialised with one variance"),
    Check("5.68", "snip", "Inverting {} lowers its accuracy"),
    Check("6.05", "snip", "{} becomes more accurate the later in training it prunes"),
    Check("3.10", "synflow", "{} leaves no network without a path from input to output"),
    Check("1.12", "snip", "{} leaves no layer without weights"),
    Check(
        "5.27",
        "synflow",
        "{} prunes entire neurons at a higher rate than magnitude, SNIP and GraSP",
    ),
    Check("5.48", "synflow", "Shuffling the masks of {} lowers the share of neurons it prunes"),
    Check("J.05", "snip", "The layerwise proportions of {} are quite different from magnitude's"),
    Check("J.06", "synflow", "The layerwise proportions of {} are quite different from SNIP's"),
    Check("J.07", "synflow", "The layerwise proportions of {} are quite different from GraSP's"),
    Check(LATE, "snip", "{} prunes later layers more heavily than earlier ones"),
    Check("J.30", "snip", "{} prunes the output layer less than the other layers"),
    Check("M.45", "snip", "Shuffling {} reconnects less than one weight in twenty"),
    Check(
        "M.46",
        "snip",
        "The effective sparsity of {} rounds to the actual one (100 % where that of any network "
        "does not, else 0)",
    ),
)

# What a method chooses, by whether it does without its own weights (shuffled) and without their
# values (reinitialised).
LAYERS, INITIAL = "layers", "layers and their initial values"
WHATEVER, WEIGHTS = "weights, whatever their values", "weights"
CHOICES = {
    (True, True): LAYERS,
    (True, False): INITIAL,
    (False, True): WHATEVER,
    (False, False): WEIGHTS,
}
HOLDS = {"supported": True, "agrees": True, "not supported": False, "differs": False}


class Judgement(BaseModel, frozen=True):
    """What the paper's checks say of a method on one setting and profile."""

    method: str = Field(description="the name that its results are recorded under")
    label: str = Field(description="the name that it was registered by")
    source: str = Field(description="the digest of its source; empty of a method of this package")
    setting: str = Field(description="what was pruned and trained")
    profile: str = Field(description="by how much of the paper's schedule")
    replicates: int = Field(description="how many were asked for")
    answers: list[str] = Field(description="weights or layers; random pruning; the mark")
    entries: list[Entry] = Field(description="every check, as the ledger has the paper's claims")
    missing: int = Field(description="networks and masks that were asked for and are not there")


def checks(method: str) -> tuple[Claim, ...]:
    """The claims about a method, of any setting.

    A method that gives whole masks cannot be inverted, and has no claim on it.

    Raises:
        UnknownNameError: there is no such method.
    """
    chosen = scores.get(method)
    found = [_put(_form(check.id), check, chosen) for check in CHECKS]
    inverted = chosen.kind == "mask"
    return tuple(c for c in found if not (inverted and c.subject[0].ablation == "invert"))


def _form(id):
    """The claim of claims.csv that a check has its form from."""
    (wanted,) = (check.claim or check.id for check in CHECKS if check.id == id)
    return next(claim for claim in claims.every() if claim.id == wanted)


def _put(claim, check, method):
    def swapped(curves):
        return tuple(
            replace(c, method=method.name) if c.method == check.instead_of else c for c in curves
        )

    subject = tuple(c for c in swapped(claim.subject) if c.method == method.name)
    others = (Curve(check.instead_of),) if check.id == BEST else ()
    if check.id == PROPORTIONS:
        # The paper says that a method does not beat its own shuffle: asked the other way round, by
        # the margin that random pruning is to be beaten by, as a shuffle is random within layers.
        shuffled = (Curve(method.name, "shuffle"),)
        claim = replace(claim, id=check.id, reference=shuffled, figure="4")
    return replace(
        claim,
        text=check.words.format(method.label),
        settings=(),
        general=True,
        subject=subject,
        reference=others + swapped(claim.reference),
    )


def words() -> dict[str, str]:
    """What each check says of "the method", by its id, in the order of `checks`."""
    said = {check.id: check.words.format("the method") for check in CHECKS}
    return {key: text[0].upper() + text[1:] for key, text in said.items()}


def choice(found: Sequence[Entry]) -> str:
    """What a method chooses, one of `CHOICES`; "" where that cannot be told."""
    by = {e.id: e for e in found}
    return CHOICES.get((holds(by[SHUFFLED]), holds(by[REINITIALISED])), "")


def entries(method: str, results: Results, setting: str, profile: str) -> list[Entry]:
    """Every check of a method with its verdict, in the order of `checks`; those about the highest
    matching sparsity only where one is known of the setting, and those about late layers only where
    the network has such."""
    asked = [c for c in checks(method) if kinds.points(c, setting, "paper")]
    if not quantities.group(setting, "late"):
        asked = [c for c in asked if c.id != LATE]
    return [ledger.entry(c, results, [setting], profile) for c in asked]


def ablated(
    method: str, results: Results, setting: str, profile: str, over: str
) -> tuple[Entry, Entry]:
    """What shuffling and drawing anew do to a method at some sparsities: two of its checks.

    Args:
        over: as in claims.csv: "any", "matching" or "extreme".
    """
    own = {c.id: replace(c, over=over) for c in checks(method)}
    shuffled, anew = (
        ledger.entry(own[check], results, [setting], profile) for check in (SHUFFLED, REINITIALISED)
    )
    return shuffled, anew


def ranges(setting: str, profile: str) -> dict[str, str]:
    """The sparsities at which it is asked apart what a method chooses, in words and as `ablated`
    takes them: those at which networks match, where the paper looks first, and higher ones, as far
    as the profile has such; all of them where none is known to match."""
    if settings.get(setting).matching is None:
        return {"Over all sparsities": "any"}
    level, known = settings.highest_matching(setting), settings.sparsities(setting, profile)
    words = f"{100 * level:.1f} % sparsity"
    found = {f"Up to {words}": "matching"} if any(s <= level for s in known) else {}
    beyond = "Beyond it" if found else f"Beyond {words}"
    return found | ({beyond: "extreme"} if any(s > level for s in known) else {})


def parts(
    method: str, results: Results, setting: str, profile: str
) -> dict[str, tuple[Entry, Entry]]:
    """What shuffling and drawing anew do to a method in each of the `ranges`, by their words."""
    about = method, results, setting, profile
    return {words: ablated(*about, over) for words, over in ranges(setting, profile).items()}


def answers(
    found: Sequence[Entry], parted: Mapping[str, tuple[Entry, Entry]], label: str
) -> list[str]:
    """Whether a method chooses weights or layers, whether it beats random pruning in the same
    proportions, and how far it is from magnitude pruning after training; each a few sentences.

    Args:
        found: its `entries`. parted: its `parts`. label: its name for people.
    """
    by = {e.id: e for e in found}
    chooses = [f"{words}: {_chosen(pair, label)}" for words, pair in parted.items()]
    same, mark = by[PROPORTIONS], by[MARK]
    beats = {True: "**Yes**", False: "**No**"}.get(holds(same), _untold(same))
    return [
        f"Does it choose weights or layers? {' '.join(chooses)}",
        f"Does it beat random pruning in the same proportions? {beats} (unmodified less shuffled "
        f"{_said(same)}).",
        f"How far is it from the mark? {_distance(mark)}.",
    ]


def _chosen(pair, label):
    """What a method chooses at some sparsities, with the two effects that say so."""
    shuffled, reinitialised = pair
    chooses = {
        LAYERS: f"**Layers**, as the paper's methods do: {label} loses nothing when its mask "
        "is shuffled within layers, nor when the weights are drawn anew",
        INITIAL: f"**Layers, and their initial values**: {label} loses nothing when its mask "
        "is shuffled within layers, but drawing the weights anew changes it",
        WHATEVER: f"**Weights, whatever their values**: shuffling its mask within layers "
        f"costs {label} accuracy, drawing the weights anew does not",
        WEIGHTS: f"**Weights**: {label} loses accuracy when its mask is shuffled within "
        "layers, and drawing the weights anew changes it",
    }.get(choice(pair), _untold(*pair))
    return f"{chooses} (shuffled {_said(shuffled)}; reinitialised {_said(reinitialised)})."


def _untold(*found):
    """That checks are not all decided, and about how many replicates would decide them."""
    counts = [replicates_needed(e) for e in found if holds(e) is None]
    if not counts or math.isinf(max(counts)):
        return "It cannot be told yet"
    if max(counts) > MANY:
        return f"It cannot be told yet, and hardly by {MANY} replicates"
    return (
        f"It cannot be told yet; if this is the effect, about {max(counts)} replicates would tell"
    )


def replicates_needed(entry: Entry) -> float:
    """About how many replicates would decide a check in four of five cases, if the effect is what
    it is now; in fewer cases where two bounds are about as near.

    The interval must end before the nearest bound of what is allowed, and its half-width falls with
    the root of the number of replicates.

    Returns:
        a whole number; infinity where nothing was run, or the effect lies on a bound.
    """
    if entry.effect is None or entry.low is None or entry.high is None:
        return math.inf
    ends = [end for end in _form(entry.id).region.ends if math.isfinite(end)]
    distance, half = min(abs(entry.effect - end) for end in ends), (entry.high - entry.low) / 2
    return math.ceil(entry.replicates * (POWER * half / distance) ** 2) if distance else math.inf


def holds(entry: Entry) -> bool | None:
    """Whether a check is true; None where that is not decided."""
    return HOLDS.get(entry.verdict)


def _said(entry):
    """The effect that decides, in points, with its interval; the verdict where there is none."""
    if entry.effect is None or entry.low is None:
        return entry.verdict
    return f"{entry.effect:+z.1f} points, {entry.low:+z.1f} to {entry.high:+z.1f}"


def _distance(entry):
    if entry.effect is None or entry.low is None or not math.isfinite(entry.low):
        return f"It cannot be told yet: the check is {entry.verdict}"
    ends = f"interval {entry.low:+z.1f} to {entry.high:+z.1f}"
    return (
        f"Averaged over sparsities, **{entry.effect:+z.1f} points** from magnitude pruning after "
        f"training ({ends})"
    )
