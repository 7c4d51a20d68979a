"""Do committed rows come out again? A dozen, chosen at random, are trained once more.

    python benchmarks/repeat.py lenet_mnist paper --rows 12 --seed 0

Each is trained in the precision of its record, into out/repeat/, with whatever others the engine
puts beside it: rounding differs, and nothing else. For scale, the table ends with the standard
deviation over replicates, the median over all curves that have several.
"""

import argparse
import random

import pandas as pd

from prunelib import engine
from prunelib.paths import project_root
from prunelib.results.store import Store


def main(setting, profile, rows, seed):
    recorded = Store().records(setting, profile)
    chosen = random.Random(seed).sample(sorted(recorded), rows)
    again = Store(project_root() / "out" / "repeat")
    for precision in sorted({recorded[run].precision for run in chosen}):
        those = [run for run in chosen if recorded[run].precision == precision]
        engine.train(those, again, precision=precision)
    found = again.records(setting, profile)
    table = pd.DataFrame(
        [
            run.record()
            | {
                "precision": recorded[run].precision,
                "recorded (%)": 100 * recorded[run].test_accuracy,
                "again (%)": 100 * found[run].test_accuracy,
                "same kept weights": recorded[run].kept_weights == found[run].kept_weights,
            }
            for run in chosen
        ]
    ).drop(columns=["setting", "profile"])
    table["difference"] = table["again (%)"] - table["recorded (%)"]
    print(table.round(3).to_markdown(index=False))
    whole = Store().table(setting, profile)
    keys = ["method", "sparsity", "ablation", "prune_at", "weights_from", "init"]
    spread = 100 * whole.groupby(keys)["test_accuracy"].std().median()
    print(
        f"\nDifferences: mean {table['difference'].mean():+.3f}, standard deviation "
        f"{table['difference'].std():.3f}; over replicates of one curve: {spread:.3f} (median)."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting")
    parser.add_argument("profile")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.setting, given.profile, given.rows, given.seed)
