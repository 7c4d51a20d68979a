"""The store: what is written is read again, damage is told, nothing is lost."""

import contextlib
import csv
import math
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest

from prunelib import networks, scores
from prunelib.errors import StoreError
from prunelib.results.store import COLUMNS, Store, write_atomically
from prunelib.runs import Run


def record(run, **changes):
    return run.record() | {
        "test_accuracy": 0.9128, "test_loss": 0.25, "train_loss": 0.125, "kept_weights": 25100,
        "epochs": 40.0, "seconds": 1.5, "engine": "stacked", "precision": "fp32",
        "device": "cpu x86_64", "dataset": "digits@0123456789abcdef", "torch": "2.11.0",
        "commit": "0123456789",
    } | changes  # fmt: skip


def run(sparsity=0.5, method="snip", **fields):
    return Run("lenet_digits", "paper", method, sparsity, **fields)


RUNS = (
    Run("lenet_digits", "paper"),
    run(),
    run(prune_at="end", weights_from="end", method="magnitude"),
    run(prune_at=7, weights_from=7, ablation="shuffle", init="fixed_variance", replicate=10),
    run(replicate=2),
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def filled(store):
    store.add(record(r) for r in RUNS)
    return store


def lines(store):
    return store.path("lenet_digits", "paper").read_text().splitlines()


def test_records_come_back(store):
    results = [
        {"test_accuracy": 0.0, "test_loss": math.nan, "train_loss": math.nan},
        {"test_accuracy": 1.0, "test_loss": math.inf},
        {"device": 'NVIDIA "H200", one', "dataset": "cifar10-jpeg@é"},
        {"kept_weights": 0, "epochs": 0.909091, "seconds": 0.000123456},
        {},
    ]
    written = [record(r, **c) for r, c in zip(RUNS, results, strict=True)]
    store.add(written)
    table = store.table("lenet_digits", "paper")
    assert list(table.columns) == list(COLUMNS)
    expected = {Run(**{k: r[k] for k in RUNS[0].record()}): r for r in written}
    found = {Run(**{k: r[k] for k in RUNS[0].record()}): r for r in table.to_dict("records")}
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        for name, value in row.items():
            assert found[key][name] == value or (math.isnan(found[key][name]) and math.isnan(value))
    assert [(r.prune_at, r.weights_from) for r in store.records("lenet_digits", "paper")] == [
        (0, 0), ("end", "end"), (0, 0), (0, 0), (7, 7),
    ]  # fmt: skip


def test_a_table_equals_itself_read_again_by_another(filled):
    pd.testing.assert_frame_equal(filled.table(), Store(filled.root).table())


@pytest.mark.parametrize("sparsity", [0.1234567890123, 1 - 0.8**7, 1e-7, 1 / 3])
def test_a_run_is_found_again_whatever_its_sparsity(store, sparsity):
    store.add([record(run(sparsity))])
    assert store.missing([run(sparsity)]) == []
    store.add([record(run(sparsity))])
    assert len(store.table()) == 1


def test_missing_keeps_the_order(filled):
    wanted = [run(0.9), RUNS[1], run(0.1), Run("lenet_digits", "quick"), RUNS[0]]
    assert filled.missing(wanted) == [run(0.9), run(0.1), Run("lenet_digits", "quick")]


def test_a_record_is_never_overwritten(filled):
    before = lines(filled)
    filled.add([record(RUNS[1], test_accuracy=0.0), record(run(0.9), test_accuracy=0.5)])
    after = lines(filled)
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def test_one_file_a_setting_and_profile(store):
    other = Run("lenet_mnist", "quick", "snip", 0.5)
    store.add([record(RUNS[1]), record(other)])
    assert sorted(p.relative_to(store.root).as_posix() for p in store.root.glob("*/*.csv")) == [
        "lenet_digits/paper.csv", "lenet_mnist/quick.csv",
    ]  # fmt: skip
    assert len(store.table()) == 2
    assert list(store.table("lenet_mnist")["profile"]) == ["quick"]
    assert list(store.table(profile="paper")["setting"]) == ["lenet_digits"]
    assert store.table("lenet_mnist", "paper").empty
    assert list(store.table("lenet_mnist", "paper").columns) == list(COLUMNS)


def test_the_file_does_not_depend_on_the_order_of_adding(store, tmp_path):
    """So that diffs show what is new, a line each; replicate 10 comes after replicate 2."""
    for r in RUNS:
        store.add([record(r)])
    other = Store(tmp_path / "other")
    for r in RUNS[::-1]:
        other.add([record(r)])
    assert lines(store) == lines(other)
    rows = list(csv.DictReader(lines(store)))
    assert [(r["method"], r["prune_at"], r["replicate"]) for r in rows] == [
        ("dense", "0", "0"), ("magnitude", "end", "0"), ("snip", "0", "0"), ("snip", "0", "2"),
        ("snip", "7", "10"),
    ]  # fmt: skip


def test_an_empty_store(store):
    assert store.table().empty
    assert store.records("lenet_digits", "paper") == {}
    assert store.missing(RUNS) == list(RUNS)
    assert not store.root.exists()  # looking makes nothing


# --------------------------------------------------------------------------------------- damage


def swap(column, value):
    def damage(row):
        row[COLUMNS.index(column)] = value
        return ",".join(row)

    return damage


SWAPS = {
    "setting": "lenet_mnits", "profile": "fast", "ablation": "shuffled", "init": "xavier",
    "sparsity": "1.5", "prune_at": "later", "weights_from": "100000", "replicate": "-1",
    "test_accuracy": "91.28", "test_loss": "-0.5", "train_loss": "low", "kept_weights": "25100.5",
    "epochs": "forty", "seconds": "-2", "method": "",
}  # fmt: skip


@pytest.mark.parametrize("column", SWAPS)
def test_a_damaged_value_is_named(filled, column):
    assert_damaged(filled, swap(column, SWAPS[column]), [column, SWAPS[column]])


@pytest.mark.parametrize(
    ("column", "value"),
    [("test_accuracy", "nan"), ("test_accuracy", ""), ("sparsity", "nan"), ("replicate", "1.0"),
     ("kept_weights", "nan"), ("method", "sn\x07ip")],
)  # fmt: skip
def test_other_damaged_values(filled, column, value):
    assert_damaged(filled, swap(column, value), [value] if value.isprintable() else ["method"])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda row: ",".join(row[:-3]), ["18 values, expected 21"]),
        (lambda row: ",".join([*row, "more"]), ["22 values, expected 21"]),
        (lambda row: "", ["0 values, expected 21"]),
        (lambda row: "<<<<<<< HEAD", ["1 values, expected 21"]),
        (lambda row: '"' + ",".join(row), ["values, expected 21"]),
        (swap("setting", "lenet_mnist"), ["belongs in", "lenet_mnist"]),
    ],
)
def test_a_damaged_line_is_named(filled, damage, words):
    assert_damaged(filled, damage, words)


def assert_damaged(store, damage, words, line=3):
    """Damage a line; every way to touch the file must say so, and leave it as it is."""
    path = store.path("lenet_digits", "paper")
    rows = path.read_text().splitlines()
    rows[line - 1] = damage(rows[line - 1].split(","))
    path.write_text("\n".join(rows) + "\n")
    assert_refused(store, path, line, words)


def assert_refused(store, path, line, words):
    before = path.read_bytes()
    for touch in (
        lambda: store.table(),
        lambda: store.missing(RUNS),
        lambda: store.add([record(run(0.9))]),
        lambda: store.records("lenet_digits", "paper"),
    ):
        with pytest.raises(StoreError) as error:
            touch()
        text = str(error.value)
        for word in (str(path), f"line {line}:", "delete that line", *words):
            assert word in text
        assert "\n" not in text
        assert path.read_bytes() == before


def test_a_run_recorded_twice(filled):
    rows = lines(filled)
    path = filled.path("lenet_digits", "paper")
    path.write_text("\n".join([*rows, rows[2]]) + "\n")
    assert_refused(filled, path, 7, ["recorded twice"])


@pytest.mark.parametrize("cut", [1, 4, 40])
def test_a_file_that_is_cut_off(filled, cut):
    """A cut of 1 takes the end of the last line only, one of 4 leaves a plausible commit."""
    path = filled.path("lenet_digits", "paper")
    path.write_bytes(path.read_bytes()[:-cut])
    assert_refused(filled, path, 6, [])


def test_binary_junk(filled):
    path = filled.path("lenet_digits", "paper")
    rows = path.read_bytes().splitlines()
    rows[3] = b"\xff\xfe\x00junk"
    path.write_bytes(b"\n".join(rows) + b"\n")
    assert_refused(filled, path, 4, ["0xff"])


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00" * 100, b"setting,profile\n", b"\x89PNG"])
def test_a_file_that_is_no_table(filled, content):
    path = filled.path("lenet_digits", "paper")
    path.write_bytes(content)
    assert_refused(filled, path, 1, [])


def test_a_column_that_is_missing_everywhere(filled):
    path = filled.path("lenet_digits", "paper")
    path.write_text("\n".join(row.rsplit(",", 1)[0] for row in lines(filled)) + "\n")
    assert_refused(filled, path, 1, ["header", "commit"])


def test_lines_may_end_as_on_windows(filled):
    expected = filled.table()
    path = filled.path("lenet_digits", "paper")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(filled.table(), expected)


def test_a_method_registered_elsewhere_is_no_damage(filled):
    """A user's method is recorded; a process that has not registered it reads the rest."""

    @scores.register("users_own", needs_data=False)
    def users_own(model, batch):
        return {n: model.get_parameter(n) for n in networks.prunable(model)}

    own = run(method="users_own", prune_at="end")
    filled.add([record(own)])
    del scores.METHODS["users_own"]
    assert list(filled.table()["method"]).count("users_own") == 1
    assert filled.missing(RUNS) == []
    filled.add([record(run(0.9))])
    assert len(filled.table()) == 7
    assert own in filled.records("lenet_digits", "paper")


# -------------------------------------------------------------------------------------- writing


def test_a_write_that_fails_leaves_the_old_file(filled, full_disk):
    path = filled.path("lenet_digits", "paper")
    before = path.read_bytes()
    with full_disk(100), pytest.raises(StoreError) as error:
        filled.add([record(run(0.9))])
    assert f"{path} cannot be written" in str(error.value)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["paper.csv"]  # and no half of a new one
    filled.add([record(run(0.9))])
    assert len(filled.table()) == 6


def test_write_atomically(tmp_path, full_disk):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"
    write_atomically(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    with full_disk(100), pytest.raises(StoreError, match=r"file\.txt cannot be written"):
        write_atomically(path, "x" * 200)
    assert path.read_bytes() == b"\x00\x01"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_place_that_cannot_be_a_store(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    for touch in (
        lambda: store.missing(RUNS),
        lambda: store.add([record(RUNS[0])]),
        lambda: store.claim(RUNS).__enter__(),
    ):
        with pytest.raises(StoreError, match=r"cannot be (read|written)"):
            touch()


# --------------------------------------------------------------------------------------- claims

CLAIMING = """
import sys, time
from prunelib.runs import Run
from prunelib.results.store import Store
runs = [Run("lenet_digits", "paper", "snip", s) for s in (0.5, 0.75)]
with Store(sys.argv[1]).claim(runs) as (claimed, _):
    print(len(claimed), flush=True)
    time.sleep(600)
"""


def test_another_process_claim_is_respected_until_it_is_killed(store):
    other = subprocess.Popen(
        [sys.executable, "-c", CLAIMING, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "2\n"
        wanted = [run(0.5), run(0.25), run(0.75)]
        with store.claim(wanted) as (claimed, _):
            assert claimed == [run(0.25)]
        other.send_signal(signal.SIGKILL)
        other.wait()
        with store.claim(wanted) as (claimed, _):
            assert claimed == wanted
    finally:
        other.kill()
        other.communicate()


def test_a_claim_tells_what_is_missing_from_what_is_recorded_and_ends_with_its_block(filled):
    with filled.claim([*RUNS, run(0.9)]) as (claimed, recorded):
        assert claimed == [run(0.9)]
        assert recorded == list(RUNS)
        with Store(filled.root).claim([run(0.9), run(0.8)]) as (others, _):
            assert others == [run(0.8)]
    with contextlib.suppress(KeyboardInterrupt), filled.claim([run(0.9)]):
        os.kill(os.getpid(), signal.SIGINT)
    with Store(filled.root).claim([run(0.9)]) as (claimed, _):
        assert claimed == [run(0.9)]


def test_records_of_a_method_that_is_not_registered_here_are_merged(store, tmp_path):
    """A user's own method is known where its runs were trained, not to the command line."""
    own = record(Run.recorded(
        "mine", setting="lenet_digits", profile="smoke", sparsity=0.5, ablation="none",
        prune_at=0, weights_from=0, init="he", replicate=0,
    ))  # fmt: skip
    away = Store(tmp_path / "away")
    away.add([own])
    assert store.merge(away.root) == 1
    assert store.merge(away.root) == 0
    assert store.table()["method"].tolist() == ["mine"]
