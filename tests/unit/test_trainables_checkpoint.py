"""States in files: whole or absent, safe to load, and equal to what was saved."""

import os
import pickle
import uuid
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from datasets.errors import InputError
from trainables import checkpoint
from trainables.checkpoint import State
from trainables.learner import Snapshot


@pytest.fixture
def state() -> State:
    """What a trial would save, of a small model after seven epochs."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    training = {
        "last_loss": 0.5,
        "trained": None,
        "optimizer": optimizer.state_dict(),
        "schedule": {"last_epoch": 12, "_last_lr": [1e-3]},
        "order": torch.Generator().get_state(),
        "random": [torch.get_rng_state()],
    }
    config = {"learning_rate": 1e-3, "schedule": "cosine", "standardize": True}
    history = [{"validation/r2": 0.1 * epoch, "epoch": epoch} for epoch in range(1, 8)]
    return checkpoint.state_of(Snapshot(model.state_dict(), training), config, history)


def flat(value):
    """Tensors as lists, so that what holds them can be compared."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: flat(each) for name, each in value.items()}
    return [flat(each) for each in value] if isinstance(value, list | tuple) else value


def test_a_state_comes_back_as_it_was(tmp_path, state):
    checkpoint.save(tmp_path, state)
    back = checkpoint.load(tmp_path)
    assert flat(back) == flat(state)
    for name, tensor in state["model"].items():
        assert back["model"][name].dtype == tensor.dtype


def test_a_state_knows_its_epoch_by_its_history_and_keeps_neither_history_nor_config(state):
    """What goes on after it is not in it."""
    assert state["epoch"] == len(state["history"]) == 7
    config, history = {"width": 8}, [{"epoch": 1}]
    begun = checkpoint.state_of(Snapshot({}, {}), config, history)
    config["width"] = 9
    history.append({"epoch": 2})
    assert (begun["epoch"], begun["config"], begun["history"]) == (1, {"width": 8}, [{"epoch": 1}])


PLAIN = [
    *(
        None,
        True,
        3,
        10**30,
        0.5,
        1j,
        "text",
        b"bytes",
        torch.ones(2),
        nn.Parameter(torch.ones(2)),
    ),
    *(torch.Size([2]), torch.float16, torch.device("cpu"), [1], (1, "two"), {3}, Counter("aab")),
    OrderedDict(a=torch.ones(1)),
    {3: {"four": [{None: 5}]}},
]
"""What a snapshot may hold."""


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_plain_values_come_back(tmp_path, value):
    checkpoint.save(tmp_path, checkpoint.state_of(Snapshot({"value": value}, {}), {}, []))
    assert flat(checkpoint.load(tmp_path)["model"]["value"]) == flat(value)


PLACES = [
    (np.zeros(3), "Snapshot.model['place'] is a numpy.ndarray"),
    (np.float64(0.5), "Snapshot.model['place'] is a numpy.float64"),
    ({"a": [0, np.int64(3)]}, "Snapshot.model['place']['a'][1] is a numpy.int64"),
    ({np.int64(3): 0}, "a key of Snapshot.model['place'] is a numpy.int64"),
    (Path("x"), "Snapshot.model['place'] is a pathlib.PosixPath"),
    (frozenset(), "Snapshot.model['place'] is a frozenset"),
    (defaultdict(int), "Snapshot.model['place'] is a collections.defaultdict"),
    (torch.Generator(), "Snapshot.model['place'] is a torch._C.Generator"),
]
"""What it may not, and how that is called."""


@pytest.mark.parametrize(("value", "words"), PLACES, ids=[words for _, words in PLACES])
def test_what_could_not_be_loaded_again_is_not_saved(value, words):
    expected = "expected tensors, numbers, texts, None, and lists and dictionaries of them"
    with pytest.raises(InputError) as error:
        checkpoint.state_of(Snapshot({"place": value}, {}), {}, [])
    assert str(error.value) == f"{words}: {expected}"
    with pytest.raises(InputError, match=r"Snapshot.training\['place'\]"):
        checkpoint.state_of(Snapshot({}, {"place": np.zeros(3)}), {}, [])


def test_what_is_no_snapshot_is_refused():
    with pytest.raises(InputError) as error:
        checkpoint.check_snapshot({"best": 0.5})
    assert str(error.value) == "snapshot() gave a dict: expected a Snapshot(model, training)"


def test_saving_leaves_one_file_and_nothing_beside_it(tmp_path, state):
    checkpoint.save(tmp_path, state)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]


def test_saving_again_replaces_the_file(tmp_path, state):
    checkpoint.save(tmp_path, state)
    checkpoint.save(tmp_path, state | {"epoch": 8})
    assert checkpoint.load(tmp_path)["epoch"] == 8
    assert len(list(tmp_path.iterdir())) == 1


def test_a_save_that_fails_leaves_the_earlier_file_whole(tmp_path, state, monkeypatch):
    checkpoint.save(tmp_path, state)

    def full(content, file):
        del content
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(tmp_path, state | {"epoch": 8})
    assert checkpoint.load(tmp_path)["epoch"] == 7


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, state, monkeypatch):
    """Renamed first, an empty file could stand under the final name after a power cut; then the
    folder is flushed, lest the name be lost."""
    order = []
    flush, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("flushed"), flush(file)))
    monkeypatch.setattr(
        Path, "rename", lambda old, new: (order.append("renamed"), rename(old, new))[1]
    )
    checkpoint.save(tmp_path, state)
    assert order == ["flushed", "renamed", "flushed"]


def test_a_checkpoint_holds_nothing_but_tensors_and_plain_values(tmp_path, state):
    checkpoint.save(tmp_path, state)
    loaded = torch.load(tmp_path / checkpoint.FILE, weights_only=True)
    assert loaded["epoch"] == 7


class Planted:
    """Would create a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_checkpoint_is_not_run(tmp_path, state):
    trap = tmp_path / "trap"
    torch.save(state | {"model": Planted(trap)}, tmp_path / checkpoint.FILE)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        checkpoint.load(tmp_path)
    torch.save({"model": Planted(trap)}, tmp_path / checkpoint.WEIGHTS)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        checkpoint.load_weights(tmp_path)
    assert not trap.exists()


def test_a_checkpoint_that_would_unpack_to_more_than_it_is_counts_as_damaged(tmp_path):
    """Before it is unpacked: torch compresses nothing."""
    path = tmp_path / checkpoint.FILE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(1_000_000))
    assert not checkpoint.is_whole(tmp_path)
    with pytest.raises(checkpoint.Damaged, match="is damaged: it was cut off or changed"):
        checkpoint.load(tmp_path)


def test_exported_weights_are_a_checkpoint_without_what_only_training_needs(tmp_path, state):
    checkpoint.save(tmp_path, state)
    checkpoint.export_weights(tmp_path, tmp_path / "new" / "weights")
    assert [path.name for path in (tmp_path / "new" / "weights").iterdir()] == [checkpoint.WEIGHTS]
    back = checkpoint.load_weights(tmp_path / "new" / "weights")
    assert flat(back) == flat({key: state[key] for key in ("epoch", "config", "model")})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's device that is always full")
def test_a_full_disk_is_called_so_and_leaves_what_was_there(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, {"epoch": 1, "model": {}})
    name = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: name)
    (tmp_path / f"state.pt.{name.hex}.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.save(tmp_path, {"epoch": 2, "model": {"w": torch.zeros(10_000)}})
    assert checkpoint.load(tmp_path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]
