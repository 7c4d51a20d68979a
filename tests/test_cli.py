import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from unittest.mock import Mock

import pytest
from conftest import mask, trained, weights
from filelock import FileLock, Timeout
from typer.testing import CliRunner

from prunelib import __version__ as prunelib_version
from prunelib import cli, grids, runs, scores, settings
from prunelib.pages import front
from prunelib.results.records import END, KINDS, MASK, START, TRAINED
from prunelib.results.store import Store
from prunelib.runs import Run

PRUNELIB = (sys.executable, "-c", "from prunelib.cli import main; main()")


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
        (["plan", "-f", "15"], "figure 15 is read off masks", "prunelib figures J"),
        (["run", "-f", "3", "-r", "0"], "0", "from 1"),
        (["run"], "say what to run", "--method"),
        (["run", "-c", "5.99"], "unknown claim '5.99'", "5.17"),
        (["run", "-c", "9.99"], "unknown claim '9.99'", "those of sections 1, 3, 4"),
        (["run", "-m", "SNIP", "--sparsity", "0.9"], "unknown method 'SNIP'", "mean 'snip'?"),
        (["run", "-m", "mine", "--sparsity", "0.9"], "unknown method 'mine'", "as --file mine.py"),
        (["run", "-m", "snip", "--sparsity", "73.8"], "73.8", "73.8 % is 0.738"),
        (["run", "-m", "snip", "-f", "3"], "--method", "give one or the other"),
        (["run", "--sparsity", "0.9"], "--sparsity", "go with --method"),
        (["run", "-s", "", "-f", "3"], "unknown setting ''", "lenet_mnist"),
        (["plan", "-f", "2"], "figure 2 compares", "prunelib figures 01"),
        (["run", "-c", "5.17", "-s", "lenet_digits", "--compact"], "--compact", "leave them out"),
        (["run", "-c", "5.17", "-f", "3"], "--claim", "leave --figure"),
        (["plan", "-c", "5.17", "-r", "2"], "--claim", "--replicates"),
        (["plan", "-c", "5.17", "--ablation", "shuffle"], "--claim", "--ablation"),
        (["plan", "-c", "K.01", "-s", "vgg16_cifar10"], "claim K.01", "lenet_mnist"),
        (["figures", "99"], "'99'", "04_at_initialization"),
        (["figures", "04", "-P", "seting=x"], "'seting'", "setting"),
        (["figures", "04", "-P", "setting"], "'setting'", "NAME=VALUE"),
        (["figures", "04", "--workers", "0"], "--workers 0", "from 1"),
        (["figures", "03", "-s", "lenet"], "unknown setting 'lenet'", "lenet_mnist"),
        (["figures", "03", "-s", "../x"], "unknown setting '../x'", "lenet_mnist"),
        (["run", "-f", "7", "-s", "lenet_mnist"], "'lenet_mnist'", "vgg11_cifar10"),
        (["run", "-t", "1"], "table 1", "2, 3, 5, 7"),
        (["run", "-f", "3", "--precision", "fp8"], "'fp8'", "bf16"),
        (["run", "-f", "3", "--minutes", "0"], "minutes=0", "above 0"),
        (["bench", "-s", "lenet"], "'lenet'", "lenet_mnist"),
        (["claims", "--section", "Z"], "section 'Z'", "choose from 1, 3, 4"),
        (["claims", "--setting", "resnet21"], "'resnet21'", "resnet20_cifar10"),
        (["claims", "--verdict", "true"], "'true'", "supported, agrees"),
        (["claims", "--format", "xml"], "'xml'", "table, json, csv, schema"),
        (["bench", "--repetitions", "0"], "repetitions 0", "from 1"),
        (["data", "imagenette"], "'imagenette'", "mnist"),
        (["run", "-f", "3", "-s", "lenet_mnist"], "'mnist' not found", "prunelib data mnist"),
        (["plan", "-f", "3", "-s", "lenet_mnist"], "'mnist' not found", "prunelib data mnist"),
        (["run", "-m", "snip", "--sparsity", "abc"], "--sparsity 'abc'", "not a number"),
        (["run", "-f", "3", "--minutes", "x"], "--minutes 'x'", "not a number"),
        (["plan", "-f", "three"], "figure 'three'", "choose from 1, 3, 4"),
        (["plan", "-t", "two"], "--table 'two'", "not a whole number"),
        (["plan", "-f", "3", "-r", "1.5"], "--replicates '1.5'", "not a whole number"),
        (["bench", "--workers", "two"], "--workers 'two'", "not a whole number"),
        (["figures", "04", "--executed", __file__], __file__, "name another place"),
        (["figures", "04", "--executed", f"{__file__}/out"], __file__, "cannot be written"),
        (["figures", "04", "--file", "nowhere.py"], "nowhere.py", "give a Python file"),
        (["figures", "04", "--in-place", "--file", __file__], "--in-place", "show the defaults"),
        (["run", "-f", "3", "--records", __file__], __file__, "folder"),
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
        [*PRUNELIB, "run", "-f", "3", "-p", "smoke"],
        capture_output=True,
        text=True,
        env=os.environ | {"PRUNELIB_RESULTS": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr
    assert path.read_text() == "not,a,header\n"


def test_run_trains_what_is_missing_and_plan_says_so(prunelib, tmp_path):
    one = ("run", "-m", "snip", "--sparsity", "0.5", "-p", "smoke", "--workers", "1")
    code, said, _ = prunelib(*one)
    assert code == 0
    assert "1 runs are new" in said
    assert len(Store(tmp_path).table()) == 1
    again = prunelib(*one)[1]
    assert "0 runs are new" in again
    (record,) = Store(tmp_path).records("lenet_digits", "smoke").values()
    accuracy = f"test accuracy {100 * record.test_accuracy:.1f} % (replicates: 1)"
    assert f"snip at 50.0 % sparsity: {accuracy}" in again
    planned = prunelib("plan", "-f", "3", "-p", "smoke")[1]
    count = len(grids.figure_runs(3, "lenet_digits", "smoke"))
    assert f"{count} trained networks needed, 0 in the store, {count} to make" in planned
    assert "on this machine" in planned


def test_run_makes_the_masks_that_a_claim_lacks(prunelib, tmp_path):
    """5.17 is about networks whose weights have one variance, magnitude pruned: 18 sparsities in
    five replicates of LeNet on the digits, of which the claim does not speak but makes sense."""
    claim = ("run", "-c", "5.17", "-s", "lenet_digits", "--workers", "1")
    code, said, _ = prunelib(*claim, "--records", str(tmp_path / "away"))
    assert code == 0
    assert "90 of 90 masks to be made" in said
    for folder in (tmp_path, tmp_path / "away"):
        table = Store(folder, MASK).table("lenet_digits", "paper")
        assert len(table) == 90
        assert set(table["init"]) == {"fixed_variance"}
    assert "Nothing is missing" in prunelib(*claim)[1]


def test_several_settings_and_methods_are_each_run(prunelib, tmp_path):
    names = ("lenet_digits", "resnet8_digits")
    where = [word for name in names for word in ("-s", name)]
    how = ("-m", "snip", "-m", "random", "--sparsity", "0.5", "-p", "smoke", "--workers", "1")
    assert prunelib("run", *where, *how)[0] == 0
    for name in names:
        assert set(Store(tmp_path).table(name)["method"]) == {"snip", "random"}


def test_the_version_is_that_of_the_package(prunelib):
    assert prunelib("--version")[:2] == (0, f"prunelib {prunelib_version}\n")


def test_help_lists_what_can_be_chosen():
    shown = CliRunner().invoke(cli.app, ["run", "--help"], env={"COLUMNS": "600"}).output
    own = [n for n, m in scores.METHODS.items() if m.function.__module__ == scores.__name__]
    later = [n for n, m in scores.METHODS.items() if m.function.__module__.split(".")[1] == "later"]
    methods = (*own, *scores.UNSCORED)
    for names in (settings.SETTINGS, grids.FIGURES, grids.TABLES, methods, later, runs.ABLATIONS):
        assert f" {', '.join(map(str, names))} " in shown
    for word in (*settings.PROFILES, "--replicates", "must not face an open network"):
        assert word in shown


def test_help_and_mistyped_options_do_not_wait_for_torch():
    code = "import sys\nfor name in ('torch', 'numpy', 'pandas'):\n    sys.modules[name] = None\n"
    for arguments, status in ((["run", "--help"], 0), (["run", "--minutes", "x"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", f"{code}from prunelib.cli import main; main()", *arguments],
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_ends_with_a_sentence(tmp_path):
    """As a terminal sends it: to all processes, here while the workers are still starting."""
    said = b""
    with subprocess.Popen(
        [*PRUNELIB, "run", "-f", "3", "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PRUNELIB_RESULTS": str(tmp_path)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            while said.count(b"trained networks") < 4:  # each half second, workers import longer
                chunk = os.read(process.stderr.fileno(), 1000)
                assert chunk, said  # it ended by itself
                said += chunk
            os.killpg(process.pid, signal.SIGINT)
            said += process.communicate(timeout=60)[1]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    lines = said.decode().splitlines()
    assert lines[-1] == "prunelib: interrupted; finished runs are kept, the same command goes on"
    assert b"Traceback" not in said


def test_records_from_elsewhere_are_merged_once(prunelib, tmp_path):
    """Of every kind; what is there already is not written again."""
    run = Run("lenet_digits", "smoke")
    written = {}
    for kind, record in ((TRAINED, trained), (MASK, mask), (START, weights), (END, weights)):
        away = Store(tmp_path / "away", kind)
        away.add([record(run)])
        written[kind.suffix] = away.path("lenet_digits", "smoke").read_bytes()
    assert len(written) == len(KINDS)
    code, said, _ = prunelib("merge", str(tmp_path / "away"))
    assert (code, said) == (0, f"{tmp_path / 'away'}: 4 new records\n")
    for kind in KINDS:
        path = Store(tmp_path, kind).path("lenet_digits", "smoke")
        assert path.read_bytes() == written[kind.suffix]
    assert "0 new records" in prunelib("merge", str(tmp_path / "away"))[1]
    code, _, error = prunelib("merge", str(tmp_path / "nowhere"))
    assert code == 2
    assert "is not a folder" in error


def test_merge_says_for_which_campaign_it_waits(prunelib, tmp_path, monkeypatch):
    """Fault: it waits for hours, and says nothing. Here the other one frees the file at once."""
    away, acquire = Store(tmp_path / "away"), FileLock.acquire
    away.add([trained(Run("lenet_digits", "smoke"))])

    def held(lock, **options):
        if options.get("timeout") == 0 and not lock.is_locked:
            raise Timeout(str(lock.lock_file))
        return acquire(lock, **options)

    monkeypatch.setattr(FileLock, "acquire", held)
    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks" / "lenet_digits.smoke.lock").touch()
    code, said, error = prunelib("merge", str(tmp_path / "away"))
    assert (code, "1 new records" in said) == (0, True)
    assert "lenet_digits/smoke.csv is held by another campaign" in error.splitlines()[0]


def test_claims_for_people_and_for_programs(prunelib):
    """Of Appendix A, most of which no results change."""
    shown = {}
    for form in ("table", "json", "csv"):
        status, shown[form], _ = prunelib("claims", "--section", "A", "--format", form)
        assert status == 0
    rows = json.loads(shown["json"])
    assert {row["section"] for row in rows} == {"A"}
    counts = Counter(row["verdict"] for row in rows)
    said = shown["table"].splitlines()[-1].split(", ")
    assert dict(part.split(" ", 1)[::-1] for part in said) == {v: str(n) for v, n in counts.items()}
    assert shown["csv"].startswith("id,section,place,claim,kind,")
    assert len(list(csv.DictReader(shown["csv"].splitlines()))) == len(rows)
    schema = json.loads(prunelib("claims", "--format", "schema")[1])
    fields = schema["$defs"]["Entry"]["properties"]
    assert fields.keys() == rows[0].keys()
    assert all(field["description"] for field in fields.values())
    some = ["--section", "A", "--setting", "resnet20_cifar10", "--verdict", "supported"]
    found = json.loads(prunelib("claims", *some, "--format", "json")[1])
    assert {(row["section"], row["verdict"]) for row in found} == {("A", "supported")}
    assert all("resnet20_cifar10" in row["setting"].split(", ") for row in found)


def test_an_error_of_the_system_is_one_sentence(monkeypatch, capsys):
    full = OSError(28, "No space left on device", "/dev/full")
    monkeypatch.setattr(cli, "app", Mock(side_effect=full))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "prunelib: [Errno 28] No space left on device: '/dev/full'\n"
    )


def test_a_report_of_the_projects_own_results_writes_both_pages(prunelib, tmp_path, monkeypatch):
    """And of other results the one beside them alone."""
    monkeypatch.setattr("prunelib.paths.checkout", lambda: tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(["# A readme", *front.MARKS, "and its end"]))
    store = Store(tmp_path / "results")
    store.add([trained(Run("lenet_digits", "paper"), 0.9)])
    monkeypatch.setenv("PRUNELIB_RESULTS", str(store.root))
    code, out, _ = prunelib("report")
    assert (code, out.count("Wrote")) == (0, 2)
    assert "lenet_digits" in (store.root / "README.md").read_text()
    assert "| The papers say, as it is read here |" in readme.read_text()
    assert readme.read_text().endswith("and its end")
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path / "others"))
    assert prunelib("report")[1].count("Wrote") == 1
