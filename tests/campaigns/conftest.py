import pytest
import torch

from campaigns.common import RUNS, go_on, results, train
from prunelib.engine import programs
from prunelib.results.store import Store


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """As in a worker: the number of threads changes rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The results of all of RUNS."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    assert train(RUNS, store) == len(RUNS) == 5 * 13
    return results(store)


@pytest.fixture
def whole(tmp_path):
    """GROUP carried out without a pause."""
    store = Store(tmp_path / "whole")
    assert go_on(store)[0] == 4
    return store


@pytest.fixture
def begun_at(monkeypatch):
    """How many iterations were behind each program whose training began in this process."""
    found, train_program = [], programs.train

    def look(program, *others):
        found.append(program.done)
        return train_program(program, *others)

    monkeypatch.setattr(programs, "train", look)
    return found
