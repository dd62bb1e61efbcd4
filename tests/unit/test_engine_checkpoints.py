"""Which checkpoints a study has: on a disk, and in an object store."""

from collections.abc import Iterator

import pytest
from upath import UPath

from engine.checkpoints import Checkpoints, as_upath
from trainables import checkpoint
from trainables.trial_spec import trial_folder


@pytest.fixture(params=["disk", "object store"])
def root(request, tmp_path) -> Iterator[UPath]:
    """An empty folder; fsspec's file system in memory stands for an object store."""
    if request.param == "disk":
        yield as_upath(str(tmp_path / "trials"))
    else:
        made = as_upath("memory://bucket/trials")
        yield made
        if made.exists():
            made.fs.rm(made.path, recursive=True)


def make(root: UPath, name: str) -> UPath:
    checkpoint.save(root / name, {"epoch": 1})
    return root / name


def cut_off(folder: UPath) -> None:
    file = folder / checkpoint.FILE
    file.write_bytes(file.read_bytes()[:-50])


def unfinished(folder: UPath) -> None:
    file = folder / checkpoint.FILE
    (folder / f"{checkpoint.FILE}.partial").write_bytes(file.read_bytes())
    file.unlink()


def test_the_latest_checkpoint_is_that_of_the_last_session_then_of_the_last_epoch(root):
    make(root, "session-0001/trial-00003/checkpoint_000009")
    make(root, "session-0002/trial-00003/checkpoint_000002")
    newest = make(root, "session-0002/trial-00003-001/checkpoint_000010")
    make(root, "session-0003/trial-00030/checkpoint_000011")
    assert Checkpoints(root).latest(3) == newest
    assert Checkpoints(root).sessions == {"session-0001", "session-0002", "session-0003"}


@pytest.mark.parametrize("damage", [unfinished, cut_off])
def test_one_that_is_not_whole_is_not_the_latest(root, damage):
    whole = make(root, "a/trial-00000/checkpoint_000001")
    damage(make(root, "a/trial-00000/checkpoint_000002"))
    assert Checkpoints(root).latest(0) == whole


def test_where_there_are_more_the_newest_whole_ones_are_kept(root):
    for epoch in (1, 2, 3, 4):
        make(root, f"a/trial-00000/checkpoint_{epoch:06d}")
    cut_off(root / "a/trial-00000/checkpoint_000003")
    unfinished(make(root, "b/trial-00000/checkpoint_000005"))
    known = Checkpoints(root)
    known.keep(0, 2)
    for look in (known, Checkpoints(root)):
        left = [folder.name for folder in look.of_trial(0)]
        assert left == ["checkpoint_000004", "checkpoint_000002"]


def test_a_trial_without_checkpoint_has_no_latest(root):
    assert Checkpoints(root / "absent").latest(0) is None
    make(root, "a/trial-00001/checkpoint_000001")
    assert Checkpoints(root).latest(0) is None


def test_what_is_written_later_is_known_when_it_is_told_or_looked_for(root):
    make(root, "a/trial-00007/checkpoint_000000")
    known = Checkpoints(root)
    told = make(root, "a/trial-00007/checkpoint_000001")
    known.saved(7, "a/trial-00007/checkpoint_000001")
    assert known.latest(7) == told
    unheard = make(root, "a/trial-00007/checkpoint_000002")
    make(root, "a/trial-00071/checkpoint_000003")
    assert known.latest(7) == told
    known.look_again(7)
    assert known.latest(7) == unheard
    assert known.of_trial(71) == []


def test_of_one_process_only_the_newest_are_remembered(root):
    """Which removes the others itself."""
    known = Checkpoints(root)
    for epoch in range(10):
        known.saved(0, f"a/trial-00000/checkpoint_{epoch:06d}")
    known.saved(0, "a/trial-00000-001/checkpoint_000000")
    assert [known.name(folder) for folder in known.of_trial(0)] == [
        "a/trial-00000-001/checkpoint_000000",
        *(f"a/trial-00000/checkpoint_{epoch:06d}" for epoch in (9, 8)),
    ]


def test_folders_of_trials_sort_by_number():
    folders = [trial_folder(number) for number in (0, 9, 10, 99_999)]
    assert (
        folders == sorted(folders) == ["trial-00000", "trial-00009", "trial-00010", "trial-99999"]
    )
