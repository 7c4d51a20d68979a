"""Campaigns with methods and settings of a user's file, which workers run for themselves."""

import re
import shutil
import threading
from pathlib import Path

import pytest

from campaigns.common import assert_same, results, train
from prunelib import engine, networks, own, scores, settings
from prunelib.errors import BadValueError, UserCodeError
from prunelib.grids import figure_runs, mask_runs
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import Run

pytestmark = pytest.mark.usefixtures("registry")
FILE = Path(__file__).parent.parent / "own_file.py"
METHODS = ("own_score", "own_force", "own_batches", "own_mask")


@pytest.fixture
def gone(tmp_path):
    """The user's file, loaded, and no longer where it was: nobody can read it any more."""
    path = tmp_path / "mine.py"
    shutil.copy(FILE, path)
    found = own.load(path)
    path.unlink()
    return found


def wanted(*names):
    return [
        Run(setting, "smoke", method, 0.7, ablation)
        for setting in names
        for method in METHODS
        for ablation in ("none", "shuffle", "reinit")
    ]


def test_every_kind_of_method_is_trained_by_workers(store, gone):
    """A lock in a closure keeps the methods from being pickled. One process and two get the
    same."""
    runs = wanted("lenet_digits", "resnet8_digits", "own_setting")
    assert train(runs, store, workers=2) == len(runs) == 36
    for name, rows in store.table().groupby("setting"):
        model = networks.build(settings.get(name).network)
        total = sum(model.get_parameter(n).numel() for n in networks.prunable(model))
        assert set(rows["kept_weights"]) == {total - round(0.7 * total)}
    assert set(store.table()["method"]) == set(gone.methods)
    alone = Store(store.root.parent / "alone")
    own_runs = wanted("own_setting")
    assert train(own_runs, alone, workers=1) == 12
    mine, theirs = results(alone), results(store)
    assert_same(mine, {key: theirs[key] for key in mine})


def test_figures_and_masks_of_a_setting_of_ones_own(store, gone):
    """Figures 3, 6 and 8 need states of dense networks; Figures 5, 15 and 16 their masks."""
    runs = [r for f in (3, 6, 8) for r in figure_runs(f, "own_setting", "smoke")]
    runs = list(dict.fromkeys(runs))
    assert f"{len(runs)} trained networks needed, 0 in the store" in engine.plan(runs, store)
    assert train(runs, store, workers=2) == len(runs)
    masks = mask_runs("own_setting", ("snip", *METHODS), levels=(6,), replicates=2)
    assert engine.measure(masks, Store(store.root, MASK), 2, progress=False) == len(masks) == 20
    table = Store(store.root, MASK).table("own_setting")
    assert set(table["kept_weights"]) == {144 - round(0.737856 * 144)}
    for _, row in table.iterrows():
        assert sum(row["layers"]) == row["kept_weights"]
        assert row["collapse"][0] == 16  # the hidden units


def test_records_outlive_what_they_are_of(store, gone):
    train(wanted("own_setting")[:2], store)
    for name in gone.methods:
        del scores.METHODS[name]
    for name in gone.settings:
        del settings.SETTINGS[name]
    table = Store(store.root).table()
    assert set(table["setting"]) == set(gone.settings)
    assert set(table["method"]) == {gone.methods[0]}


def test_what_cannot_be_sent_is_told(store):
    lock = threading.Lock()
    made = scores.register("locked", needs_data=False)
    made(lambda model, batch: scores.magnitude(model) if not lock.locked() else None)
    runs = [Run("lenet_digits", "smoke", "locked", 0.5, replicate=r) for r in range(2)]
    with pytest.raises(BadValueError, match=r"'locked' cannot be sent to workers .*--file"):
        train(runs, store, workers=2)
    assert train(runs, store, workers=1) == 2  # in this process nothing is sent


def test_an_exception_in_a_worker_has_the_users_frames(store, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(
        "from prunelib import scores\n"
        "@scores.register('broken', needs_data=False)\n"
        "def broken(model, batch):\n"
        "    return model.nothing\n"
    )
    own.load(path)
    with pytest.raises(UserCodeError) as error:
        train([Run("lenet_digits", "smoke", "broken", 0.5)], store, workers=2)
    assert re.match("method 'broken' raised AttributeError: .*nothing", str(error.value))
    assert f'File "{path}", line 4, in broken' in error.value.traceback
    assert "return model.nothing" in error.value.traceback
    assert "prunelib/engine" not in error.value.traceback
