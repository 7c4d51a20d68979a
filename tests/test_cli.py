import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from prunelib import cli
from prunelib.grids import figure_runs
from prunelib.results.store import KINDS, Store
from prunelib.runs import Run


@pytest.fixture
def prunelib(monkeypatch, capsys, tmp_path):
    """Runs the command line in this process, on a store and data root of its own."""
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path))
    monkeypatch.setenv("PRUNELIB_DATA", str(tmp_path / "data"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prunelib", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run


@pytest.mark.parametrize(
    ("arguments", "named", "way_out"),
    [
        (["run", "-f", "3", "-s", "lenet_mnst"], "'lenet_mnst'", "lenet_mnist"),
        (["run", "-f", "3", "-p", "papper"], "'papper'", "quick"),
        (["run", "-f", "99"], "99", "3, 4"),
        (["run", "-m", "snipe"], "'snipe'", "grasp"),
        (["run", "-m", "snip", "--sparsity", "0.9", "--ablation", "mix"], "'mix'", "shuffle"),
        (["run", "-m", "snip", "--sparsity", "1.0"], "1.0", "[0, 1)"),
        (["plan", "-m", "snip"], "snip", "--sparsity 0.9"),
        (["plan", "-f", "3", "--sparsity", "0.9"], "--sparsity", "go with --method"),
        (["plan", "-f", "3", "--ablation", "shuffle"], "--ablation", "go with --method"),
        (["run", "-m", "snip", "--sparsity", "-0.1"], "-0.1", "[0, 1)"),
        (["run", "-m", "dense", "--sparsity", "0.5"], "'dense'", "no sparsity"),
        (["run", "-f", "3", "-r", "0"], "0", "from 1"),
        (["run"], "say what to run", "--method"),
        (["figures", "99"], "'99'", "04_at_initialization"),
        (["figures", "04", "-P", "seting=x"], "'seting'", "setting"),
        (["figures", "04", "-P", "setting"], "'setting'", "NAME=VALUE"),
        (["run", "-f", "7", "-s", "lenet_mnist"], "'lenet_mnist'", "vgg11_cifar10"),
        (["run", "-t", "1"], "table 1", "2, 3, 5, 7"),
        (["run", "-f", "3", "--precision", "fp8"], "'fp8'", "bf16"),
        (["run", "-f", "3", "--minutes", "0"], "minutes=0", "above 0"),
        (["bench", "-s", "lenet"], "'lenet'", "lenet_mnist"),
        (["bench", "--repetitions", "0"], "repetitions 0", "from 1"),
        (["data", "imagenette"], "'imagenette'", "mnist"),
        (["run", "-f", "3", "-s", "lenet_mnist"], "'mnist' not found", "prunelib data mnist"),
    ],
)
def test_bad_input_gets_one_sentence(prunelib, arguments, named, way_out):
    code, _, said = prunelib(*arguments)
    assert code == 2
    lines = said.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("prunelib: ")
    assert named in lines[0]
    assert way_out in lines[0]


def test_a_damaged_record_is_named_and_kept(tmp_path):
    """In a process of its own, as a user meets it: one sentence, no traceback, status 2."""
    path = tmp_path / "lenet_digits" / "smoke.csv"
    path.parent.mkdir()
    path.write_text("not,a,header\n")
    done = subprocess.run(
        [sys.executable, "-c", "from prunelib.cli import main; main()", "run", "-f", "3", "-p",
         "smoke"],
        capture_output=True, text=True, env=os.environ | {"PRUNELIB_RESULTS": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr
    assert path.read_text() == "not,a,header\n"


def test_run_trains_what_is_missing_and_plan_says_so(prunelib, tmp_path):
    one = ("run", "-m", "snip", "--sparsity", "0.5", "-p", "smoke", "--workers", "1")
    code, said, _ = prunelib(*one)
    assert code == 0
    assert "Trained 1 runs" in said
    assert len(Store(tmp_path).table()) == 1
    assert "Trained 0 runs" in prunelib(*one)[1]
    planned = prunelib("plan", "-f", "3", "-p", "smoke")[1]
    count = len(figure_runs(3, "lenet_digits", "smoke"))
    assert f"{count} runs needed, 0 in the store, {count} to train" in planned
    assert "of training on this machine" in planned


def test_help_lists_what_can_be_chosen():
    shown = CliRunner().invoke(cli.app, ["run", "--help"], env={"COLUMNS": "400"}).output
    for word in ("resnet20_cifar10", "synflow", "shuffle", "quick", "--replicates"):
        assert word in shown


def test_records_from_elsewhere_are_merged_once(prunelib, tmp_path):
    """Of every kind; what is there already is not written again."""
    kinds = {}
    for kind in KINDS:
        values = dict.fromkeys(kind.results, "1") | {"test_accuracy": 0.5, "layers": "1 2"}
        record = Run("lenet_digits", "smoke").record() | values
        away = Store(tmp_path / "away", kind)
        away.add([{name: record[name] for name in kind.columns}])
        kinds[kind.suffix] = away.path("lenet_digits", "smoke").read_bytes()
    code, said, _ = prunelib("merge", str(tmp_path / "away"))
    assert (code, said) == (0, f"{tmp_path / 'away'}: 4 new records\n")
    for kind in KINDS:
        path = Store(tmp_path, kind).path("lenet_digits", "smoke")
        assert path.read_bytes() == kinds[kind.suffix]
    assert "0 new records" in prunelib("merge", str(tmp_path / "away"))[1]
    code, _, error = prunelib("merge", str(tmp_path / "nowhere"))
    assert code == 2
    assert "is not a folder" in error
