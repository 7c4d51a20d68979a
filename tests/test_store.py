"""The store: what is written is read again, damage is told, nothing is lost."""

import contextlib
import csv
import fcntl
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from conftest import mask, trained, weights

from prunelib import networks, paths, scores, settings
from prunelib.errors import BadValueError, PrunelibError, StoreError
from prunelib.paths import check_writable, write_atomically
from prunelib.results import records
from prunelib.results.records import END, KINDS, MASK, START, TRAINED, Mask, Trained, Weights
from prunelib.results.store import Store
from prunelib.runs import Run

COLUMNS = TRAINED.columns


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
    store.add(trained(r) for r in RUNS)
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
    written = [trained(r, **c) for r, c in zip(RUNS, results, strict=True)]
    store.add(written)
    found = store.records("lenet_digits", "paper")
    assert found.keys() == set(RUNS)
    for record in written:
        assert found[record.run].words() == record.words()  # as words, since nan is not itself
        assert [type(v) for v in found[record.run].row().values()] == [
            type(v) for v in record.row().values()
        ]
    assert [(r.prune_at, r.weights_from) for r in found] == [
        (0, 0),
        ("end", "end"),
        (0, 0),
        (0, 0),
        (7, 7),
    ]
    table = store.table("lenet_digits", "paper")
    assert tuple(table.columns) == COLUMNS
    assert table["test_accuracy"].tolist() == [0, 0.9, 1, 0.9, 0.9]
    assert table["device"].tolist()[1] == 'NVIDIA "H200", one'


def test_a_file_is_written_in_this_form(store):
    store.add([trained(run(1 - 0.8**7), 1 / 3, test_loss=math.nan, seconds=123456.7, epochs=4e-7)])
    assert store.path("lenet_digits", "paper").read_text() == (
        "setting,profile,method,sparsity,ablation,prune_at,weights_from,init,replicate,"
        "test_accuracy,test_loss,train_loss,kept_weights,epochs,seconds,engine,precision,device,"
        "dataset,torch,commit\n"
        "lenet_digits,paper,snip,0.7902847999999999,none,0,0,he,0,0.333333,nan,0.1,100,4e-07,123457,plain,"
        "fp32,cpu,digits@0,0,unknown\n"
    )


def test_counts_and_numbers_are_read_once(tmp_path):
    masks, ends = Store(tmp_path, MASK), Store(tmp_path, END)
    masks.add([mask(run(), layers=[300, 20], collapse=(7,) * 21)])
    ends.add([weights(run(), mean=(0.25, -1e-7, math.nan))])
    assert ",300 20,7 7 7" in masks.path("lenet_digits", "paper").read_text()
    assert ",0.25 -1e-07 nan," in ends.path("lenet_digits", "paper").read_text()
    (found,) = masks.records("lenet_digits", "paper").values()
    assert (found.layers, found.collapse) == ((300, 20), (7,) * 21)
    assert masks.table()["layers"].tolist() == [(300, 20)]
    (found,) = ends.records("lenet_digits", "paper").values()
    assert found.mean[:2] == (0.25, -1e-7)
    assert math.isnan(found.mean[2])
    assert Store(tmp_path, START).table().empty


def test_what_is_committed_is_written_again_as_it_is(tmp_path, monkeypatch):
    monkeypatch.delenv("PRUNELIB_RESULTS", raising=False)
    for kind in KINDS:
        Store(tmp_path, kind).merge(paths.results_root())
    committed = sorted(paths.results_root().glob("*/*.csv"))
    assert committed
    for path in committed:
        assert (tmp_path / path.relative_to(paths.results_root())).read_bytes() == path.read_bytes()


def test_a_table_equals_itself_read_again_by_another(filled):
    pd.testing.assert_frame_equal(filled.table(), Store(filled.root).table())


@pytest.mark.parametrize("sparsity", [0.1234567890123, 1 - 0.8**7, 1e-7, 1 / 3])
def test_a_run_is_found_again_whatever_its_sparsity(store, sparsity):
    store.add([trained(run(sparsity))])
    assert store.missing([run(sparsity)]) == []
    store.add([trained(run(sparsity))])
    assert len(store.table()) == 1


def test_missing_keeps_the_order(filled):
    wanted = [run(0.9), RUNS[1], run(0.1), Run("lenet_digits", "quick"), RUNS[0]]
    assert filled.missing(wanted) == [run(0.9), run(0.1), Run("lenet_digits", "quick")]


def test_a_record_is_never_overwritten(filled):
    before = lines(filled)
    filled.add([trained(RUNS[1], test_accuracy=0.0), trained(run(0.9), test_accuracy=0.5)])
    after = lines(filled)
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def test_one_file_a_setting_and_profile(store):
    other = Run("lenet_mnist", "quick", "snip", 0.5)
    store.add([trained(RUNS[1]), trained(other)])
    assert sorted(p.relative_to(store.root).as_posix() for p in store.root.glob("*/*.csv")) == [
        "lenet_digits/paper.csv",
        "lenet_mnist/quick.csv",
    ]
    assert len(store.table()) == 2
    assert list(store.table("lenet_mnist")["profile"]) == ["quick"]
    assert list(store.table(profile="paper")["setting"]) == ["lenet_digits"]
    assert store.table("lenet_mnist", "paper").empty
    assert list(store.table("lenet_mnist", "paper").columns) == list(COLUMNS)


def test_the_file_does_not_depend_on_the_order_of_adding(store, tmp_path):
    """So that diffs show what is new, a line each; replicate 10 comes after replicate 2."""
    for r in RUNS:
        store.add([trained(r)])
    other = Store(tmp_path / "other")
    for r in RUNS[::-1]:
        other.add([trained(r)])
    assert lines(store) == lines(other)
    rows = list(csv.DictReader(lines(store)))
    assert [(r["method"], r["prune_at"], r["replicate"]) for r in rows] == [
        ("dense", "0", "0"),
        ("magnitude", "end", "0"),
        ("snip", "0", "0"),
        ("snip", "0", "2"),
        ("snip", "7", "10"),
    ]


def test_an_empty_store(store):
    assert store.table().empty
    assert store.records("lenet_digits", "paper") == {}
    assert store.missing(RUNS) == list(RUNS)
    assert not store.root.exists()  # looking makes nothing


# ------------------------------------------------------------------------ values that do not fit

MISFITS = [
    (Trained, "test_accuracy", 95, "a number from 0 to 1"),
    (Trained, "test_accuracy", math.nan, "a number from 0 to 1"),
    (Trained, "test_accuracy", "high", "a number from 0 to 1"),
    (Trained, "test_accuracy", None, "a number from 0 to 1"),
    (Trained, "test_loss", -0.5, "a number from 0, or nan"),
    (Trained, "kept_weights", 25100.5, "a whole number from 0"),
    (Trained, "kept_weights", -1, "a whole number from 0"),
    (Trained, "seconds", math.inf, "a number from 0"),
    (Trained, "epochs", math.nan, "a number from 0"),
    (Trained, "precision", "fp8", "one of fp32, tf32, bf16"),
    (Trained, "device", "cpu\n", "text on one line without markup"),
    (Trained, "torch", 2.11, "text on one line without markup"),
    (Trained, "speed", 3, "no column of this name"),
    (Mask, "layers", (10, -1), "whole numbers from 0"),
    (Mask, "collapse", (), "whole numbers from 0"),
    (Weights, "ks", (0.1, "low"), "numbers"),
    (Weights, "precision", "fp8", "one of fp32, tf32, bf16"),
]


@pytest.mark.parametrize(("record", "column", "value", "allowed"), MISFITS)
def test_a_record_with_a_value_that_does_not_fit_is_not_made(record, column, value, allowed):
    make = {Trained: trained, Mask: mask, Weights: weights}[record]
    named = {(10, -1): -1, (0.1, "low"): "low"}.get(value, value)
    with pytest.raises(BadValueError) as error:
        make(run(), **{column: value})
    assert str(error.value) == f"{column} is {named!r}, expected {allowed}"


def test_a_record_lacks_nothing_and_stays_as_it_is():
    with pytest.raises(BadValueError, match=r"^device is missing, expected text on one line with"):
        Mask(run=run(), layers=[1], kept_weights=1, effective_weights=1, collapse=[1], seconds=1)
    with pytest.raises(BadValueError, match=r"^run is 'snip', expected a Run$"):
        trained("snip")
    with pytest.raises(ValueError, match="frozen"):
        trained(run()).test_accuracy = 0.5


def test_a_record_of_another_kind_is_refused(filled):
    before = lines(filled)
    with pytest.raises(BadValueError, match="is no record of trained networks"):
        filled.add([mask(run(0.9))])
    assert lines(filled) == before


# --------------------------------------------------------------------------------------- damage


def swap(column, value):
    def damage(row):
        row[COLUMNS.index(column)] = value
        return ",".join(row)

    return damage


SWAPS = {
    "setting": "../digits", "profile": "fast", "ablation": "shuffled", "init": "xavier",
    "sparsity": "1.5", "prune_at": "later", "weights_from": "100000", "replicate": "-1",
    "test_accuracy": "91.28", "test_loss": "-0.5", "train_loss": "low", "kept_weights": "25100.5",
    "epochs": "forty", "seconds": "-2", "method": "",
}  # fmt: skip


@pytest.mark.parametrize("column", SWAPS)
def test_a_damaged_value_is_named(filled, column):
    assert_damaged(filled, swap(column, SWAPS[column]), [column, SWAPS[column]])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("test_accuracy", "nan"),
        ("test_accuracy", ""),
        ("sparsity", "nan"),
        ("replicate", "1.0"),
        ("kept_weights", "nan"),
        ("method", "sn\x07ip"),
        ("precision", "fp8"),
        ("seconds", "inf"),
        ("replicate", "9" * 5000),
        ("test_accuracy", "high"),
    ],
)
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
        (swap("setting", "lenet_mnits"), ["belongs in", "lenet_mnits"]),
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
        lambda: store.add([trained(run(0.9))]),
        lambda: store.records("lenet_digits", "paper"),
    ):
        with pytest.raises(StoreError) as error:
            touch()
        text = str(error.value)
        for word in (f"{path}, line {line}:", f"restore the file (git checkout {path}) or", *words):
            assert word in text
        assert ("delete that line" in text) == (line > 1 and "cut off" not in text)
        assert ("move the file away" in text) == (line == 1)
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
    assert_refused(filled, path, 6, ["cut off", "delete that last line, and the runs"])


def test_a_file_that_is_cut_off_at_an_empty_line(filled):
    path = filled.path("lenet_digits", "paper")
    path.write_bytes(path.read_bytes() + b"\r")
    assert_refused(filled, path, 7, ["cut off"])


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


def test_a_method_registered_elsewhere_is_no_damage(filled, registry):
    """A user's method is recorded; a process that has not registered it reads the rest."""

    @scores.register("users_own", needs_data=False)
    def users_own(model, batch):
        return {n: model.get_parameter(n) for n in networks.prunable(model)}

    own = run(method="users_own", prune_at="end")
    filled.add([trained(own)])
    del scores.METHODS[own.method]
    assert list(filled.table()["method"]).count(own.method) == 1
    assert filled.missing(RUNS) == []
    filled.add([trained(run(0.9))])
    assert len(filled.table()) == 7
    assert own in filled.records("lenet_digits", "paper")


# -------------------------------------------------------------------------------------- writing


def test_a_write_that_fails_leaves_the_old_file(filled, full_disk):
    path = filled.path("lenet_digits", "paper")
    before = path.read_bytes()
    with full_disk(100), pytest.raises(StoreError) as error:
        filled.add([trained(run(0.9))])
    assert f"{path} cannot be written" in str(error.value)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["paper.csv"]  # and no half of a new one
    filled.add([trained(run(0.9))])
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
        lambda: store.add([trained(RUNS[0])]),
        lambda: store.hold([("lenet_digits", "paper")]).__enter__(),
    ):
        with pytest.raises(StoreError, match=r"cannot be (read|written)"):
            touch()


def test_a_store_tells_before_anything_is_trained_whether_it_can_be_written(tmp_path):
    root = tmp_path / "new" / "results"
    check_writable(root, "results")
    assert list(root.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    for root, sentence in (
        ("file", f"^{tmp_path / 'file'} is a file, .* name another place, or move the file away$"),
        ("file/below", f"^{tmp_path / 'file/below'}.* cannot be written"),
    ):
        with pytest.raises(StoreError, match=sentence):
            check_writable(tmp_path / root, "results")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_results_elsewhere_stays_one(tmp_path):
    """As where they are kept on another disk; and whoever could write them still can."""
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("old")
    elsewhere.chmod(0o664)
    link = tmp_path / "results" / "paper.csv"
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert elsewhere.read_text() == "new"
    assert elsewhere.stat().st_mode & 0o777 == 0o664
    assert sorted(tmp_path.rglob("*")) == sorted([elsewhere, link.parent, link])


def test_a_folder_that_cannot_be_looked_into_is_not_an_empty_one(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.add([trained(RUNS[0])])
    listed = Path.iterdir

    def denied(self):
        if self.name == "lenet_digits":
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(StoreError, match=r"lenet_digits cannot be read .*Permission denied"):
        store.pairs()


def test_a_spreadsheets_mark_is_no_damage_and_another_versions_columns_are_named(tmp_path):
    store = Store(tmp_path)
    store.add([trained(RUNS[0])])
    path = store.path(RUNS[0].setting, RUNS[0].profile)
    content = path.read_text()
    path.write_text("\ufeff" + content, encoding="utf-8")
    assert not store.missing(RUNS[:1])
    path.write_text(content.replace("train_loss", "loss", 1))
    with pytest.raises(StoreError, match="more are loss, missing are train_loss; nothing of it"):
        store.table()


def test_merging_adds_nothing_of_a_folder_with_damage(tmp_path):
    other, store = Store(tmp_path / "other"), Store(tmp_path / "mine")
    other.add([trained(RUNS[0]), trained(Run("lenet_mnist", "paper"))])
    other.path("lenet_mnist", "paper").write_text("junk\n")
    with pytest.raises(StoreError, match="damaged"):
        store.merge(other.root)
    assert store.pairs() == []


@pytest.mark.parametrize("text", ["<b>", "a|b", "$x$", "[a](b)", "`a`", "two\nlines"])
def test_no_record_brings_markup(text):
    """It may be from elsewhere, and is shown on pages, in tables and in titles."""
    with pytest.raises(BadValueError, match="expected text on one line without markup"):
        trained(RUNS[0], dataset=text)
    assert trained(RUNS[0], device="Intel(R) Xeon(R) @ 2.2GHz, 8 cores").device


def test_a_store_in_a_place_where_nobody_may_write():
    with pytest.raises(StoreError, match=r"^/proc/results.* cannot be written"):
        check_writable(Path("/proc/results"), "results")


# ------------------------------------------------------------------------------ several processes

PAIRS = [("lenet_digits", "paper"), ("lenet_mnist", "quick")]


@contextlib.contextmanager
def process(code, store):
    """Another process that runs `code` with `store`; it is killed at the end."""
    code = (
        "import sys, time\nfrom conftest import trained\nfrom prunelib.runs import Run\n"
        f"from prunelib.results.store import Store\nstore = Store(sys.argv[1])\n{code}"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(store.root)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])},
    )
    try:
        yield other
    finally:
        other.kill()
        other.communicate()


def is_held(store, setting, profile):
    """Whether the system would refuse the lock of a file to another process."""
    with open(store.root / ".locks" / f"{setting}.{profile}.lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_campaign_waits_for_another_and_a_killed_one_frees_its_files(store, tmp_path):
    away = Store(tmp_path / "away")
    away.add([trained(run())])
    hold = f"with store.hold({PAIRS}):\n    print('held', flush=True)\n    time.sleep(600)"
    with process(hold, store) as other:
        assert other.stdout.readline() == "held\n"
        sentences = []

        def waiting(sentence):
            sentences.append(sentence)
            other.kill()

        with store.hold([("lenet_digits", "quick")], waiting):  # is free
            assert sentences == []
        with store.hold(PAIRS[1:], waiting):
            assert sentences == [
                f"{store.path(*PAIRS[1])} is held by another campaign (process {other.pid} on "
                f"host {socket.gethostname()}): waiting for it to end"
            ]
    with process(hold, store) as other:
        other.stdout.readline()
        assert store.merge(away.root, waiting) == 1
        assert str(store.path(*PAIRS[0])) in sentences[1]
    assert store.missing([run()]) == []


def test_a_budget_ends_the_waiting_for_another_campaign(store):
    hold = f"with store.hold({PAIRS}):\n    print('held', flush=True)\n    time.sleep(600)"
    with process(hold, store) as other:
        assert other.stdout.readline() == "held\n"
        began = time.time()
        over = pytest.raises(StoreError, match="still held by another campaign, and the time is")
        with over, store.hold(PAIRS, until=began + 0.3):
            pass
        assert 0.3 <= time.time() - began < 30
    assert not is_held(store, *PAIRS[0])


def test_a_campaign_may_add_to_what_it_holds(store):
    """By another instance of the store too, and hold it twice; then it is free for others."""
    with store.hold(PAIRS, pytest.fail):
        with Store(store.root).hold(PAIRS[::-1], pytest.fail):
            store.add([trained(run())])
        assert all(is_held(store, *pair) for pair in PAIRS)
        Store(store.root).add([trained(run(0.9))])
        assert all(is_held(store, *pair) for pair in PAIRS)
    assert not any(is_held(store, *pair) for pair in PAIRS)
    assert len(store.table()) == 2


def test_what_is_interrupted_holds_nothing(store):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background
    try:
        with pytest.raises(KeyboardInterrupt), store.hold(PAIRS):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not any(is_held(store, *pair) for pair in PAIRS)


def test_processes_and_threads_that_add_at_one_time_lose_nothing(store):
    add = (
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "for replicate in range({}, {}):\n"
        "    store.add([trained(Run('lenet_digits', 'paper', replicate=replicate))])"
    )
    with process(add.format(0, 20), store) as first, process(add.format(20, 40), store) as second:
        for other in (first, second):
            assert other.stdout.readline() == "ready\n"
        for other in (first, second):
            other.stdin.write("go\n")
            other.stdin.flush()
        with ThreadPoolExecutor(2) as pool:
            runs = [Run("lenet_digits", "paper", replicate=r) for r in range(40, 80)]
            list(pool.map(lambda r: Store(store.root).add([trained(r)]), runs))
        assert (first.wait(60), second.wait(60)) == (0, 0)
    assert sorted(store.table()["replicate"]) == list(range(80))


# -------------------------------------------------------------------- names that are not known here


def test_records_of_a_method_and_a_setting_not_known_here_are_read_and_merged(tmp_path):
    """A user's own are known where their runs were trained, not to the command line."""
    own = Run.recorded(
        setting="my_own",
        profile="smoke",
        method="mine",
        sparsity=0.5,
        ablation="none",
        prune_at=200000,
        weights_from="end",
        init="he",
        replicate=0,
    )
    store, away = Store(tmp_path / "here"), Store(tmp_path / "away")
    away.add([trained(own)])
    assert store.merge(away.root) == 1
    assert store.merge(away.root) == 0
    assert list(store.records("my_own", "smoke")) == [own]
    assert store.missing([own, run()]) == [run()]
    table = store.table()
    assert table[["setting", "method"]].to_numpy().tolist() == [["my_own", "mine"]]
    assert table[["prune_at", "weights_from"]].to_numpy().tolist() == [[200000, "end"]]
    assert store.path("my_own", "smoke").read_bytes() == away.path("my_own", "smoke").read_bytes()


@pytest.mark.parametrize(
    "value",
    [
        {"setting": "../up"},
        {"sparsity": 1.0},
        {"method": ""},
        {"init": "xavier"},
        {"prune_at": -1},
        {"prune_at": "later"},
        {"replicate": -1},
        {"profile": "fast"},
    ],
)
def test_what_is_known_of_an_unknown_setting_is_checked(value):
    fields = {
        "setting": "my_own",
        "profile": "smoke",
        "method": "mine",
        "sparsity": 0.5,
        "ablation": "none",
        "prune_at": 0,
        "weights_from": 0,
        "init": "he",
        "replicate": 0,
    }
    assert "my_own" not in settings.SETTINGS
    with pytest.raises(PrunelibError, match=f"{next(iter(value.values()))!r}"):
        Run.recorded(**fields | value)


# --------------------------------------------------------------------------------------- provenance


@pytest.mark.parametrize("where", ["no checkout", "inside another repository", "its own"])
def test_the_commit_is_that_of_the_package_and_of_no_repository_around_it(
    tmp_path, monkeypatch, where
):
    def git(*args, cwd):
        settled = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *settled, *args], cwd=cwd, check=True, capture_output=True)

    root = tmp_path / "checkout"
    root.mkdir()
    for repository in (tmp_path, *([root] if where == "its own" else [])):
        git("init", cwd=repository)
        git("commit", "--allow-empty", "-m", "first", cwd=repository)
    monkeypatch.setattr(records, "checkout", lambda: None if where == "no checkout" else root)
    monkeypatch.chdir(tmp_path)
    found = records.commit.__wrapped__()
    assert bool(re.fullmatch("[0-9a-f]{10}", found)) == (where == "its own")
    assert found == "unknown" or where == "its own"
    if where == "its own":  # what is not committed is told
        (root / "prunelib").mkdir()
        (root / "prunelib" / "new.py").touch()
        assert records.commit.__wrapped__() == f"{found}+"


def test_files_are_locked_in_one_order(store, monkeypatch):
    """Else two campaigns that name them the other way round could wait for each other for ever."""
    taken = []
    monkeypatch.setattr(store, "_lock", lambda key, *_: contextlib.nullcontext(taken.append(key)))
    for pairs in (PAIRS, PAIRS[::-1]):
        with store.hold(pairs):
            pass
    assert taken[:2] == taken[2:]
    assert set(taken) == set(PAIRS)
