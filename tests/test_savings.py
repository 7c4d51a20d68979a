"""What pruning could save: counts by hand, records, and the figure."""

import pandas as pd
import pytest

from prunelib import networks, settings
from prunelib.findings import savings
from prunelib.pages import draw_savings


@pytest.fixture
def files(monkeypatch, tmp_path):
    monkeypatch.setattr(savings, "path", lambda name="savings": tmp_path / f"{name}.csv")
    return tmp_path


def test_magnitude_of_lenet_saves_by_weights_and_nothing_by_channels(monkeypatch):
    """A fully connected network multiplies once a weight: what is kept is 1 - sparsity, as long as
    no hidden neuron loses all its weights."""
    monkeypatch.setattr(savings, "levels", lambda setting: [1, 5])
    found = savings.measure("lenet_digits", ["magnitude"])
    total = sum(
        networks.build("lenet_8x8").get_parameter(n).numel()
        for n in ("layers.0.weight", "layers.1.weight", "layers.2.weight")
    )
    assert list(found["dense"]) == list(found["compact"]) == [total, total]
    assert list(found["kept"]) == [total - round(s * total) for s in found["sparsity"]]


def test_rows_replace_those_of_the_same_masks(files, monkeypatch):
    monkeypatch.setattr(savings, "levels", lambda setting: [1])
    savings.record("lenet_digits")
    first = (files / "savings.csv").read_text()
    savings.record("lenet_digits")
    assert (files / "savings.csv").read_text() == first
    rows = pd.read_csv(files / "savings.csv").assign(dead=7)
    savings.write(savings.path(), rows, ["setting", "method", "sparsity"])
    assert set(pd.read_csv(files / "savings.csv")["dead"]) == {7}
    assert len(savings.table("lenet_digits")) == len(savings.METHODS)
    assert savings.table("vgg16_cifar10").empty


def test_times_stand_beside_the_counts(files):
    row = ("resnet20_cifar10", "synflow", settings.sparsity(6))
    savings.write(
        savings.path(), pd.DataFrame([(*row, 100, 60, 20)], columns=savings.COLUMNS), ["setting"]
    )
    assert savings.table(row[0])["time"].isna().all()
    times = [(row[0], row[1], 73.8, p, 0.4, t) for p, t in (("fp32", 0.3), ("bf16", 0.1))]
    savings.write(
        savings.path("seconds"), pd.DataFrame(times, columns=savings.TIMES), savings.TIMES[:4]
    )
    (found,) = savings.table(row[0]).to_dict("records")
    assert (found["compact"], found["kept"]) == (0.6, 0.2)
    assert found["time"] == pytest.approx(0.75)


@pytest.mark.parametrize("setting", savings.SETTINGS)
def test_the_record_is_whole_and_ordered(setting):
    """A network's own products are known; weights never exceed channels, nor they the network."""
    found = savings._read(savings.path(), savings.COLUMNS).query("setting == @setting")
    assert set(found["method"]) >= {"magnitude", "synflow", "random"}
    assert (found["kept"] <= found["compact"]).all()
    assert (found["compact"] <= found["dense"]).all()
    images = networks.flops(settings.get(setting).network)
    assert (6 * found["dense"] > images).all()  # 3 passes of 2 operations, the first layer's fewer
    assert (5 * found["dense"] < images).all()
    for _, rows in found.groupby("method"):
        assert rows.sort_values("sparsity")["kept"].is_monotonic_decreasing


def test_the_figure_shows_what_is_left_and_the_time():
    rows = [
        ("resnet20_cifar10", "synflow", 100 * settings.sparsity(k), 0.9**k, 0.8**k, t)
        for k, t in ((2, float("nan")), (6, 0.7))
    ]
    data = pd.DataFrame(rows, columns=["setting", "method", "sparsity", "compact", "kept", "time"])
    above, below = draw_savings.savings(data, "What is left").axes
    assert [list(a.get_ydata()) for a in above.get_lines() if a.get_label() == "SynFlow"] == [
        [0.9**2, 0.9**6]
    ]
    assert [list(a.get_ydata()) for a in below.get_lines() if a.get_label() == "SynFlow"] == [
        [0.8**2, 0.8**6]
    ]
    assert any(list(a.get_ydata())[1:] == [0.7] for a in above.get_lines())
