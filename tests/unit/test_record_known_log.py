"""The log of a study is found by the study's name, or it is said why there is none."""

import json
from pathlib import Path

import pytest
from happened import began, ended, story
from upath import UPath

from datasets.errors import InputError
from record.folder import StudyFolder
from record.known_log import known_state
from record.log import FileLog
from record.store_log import StoreLog


def test_a_study_is_what_its_log_on_this_disk_says(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    FileLog(folder.log).append(story())
    state = known_state(folder)
    assert (state.session, len(state.trials())) == (began(2), 4)


def test_the_log_in_a_shared_storage_is_the_one_that_counts(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "runs", "s", UPath(tmp_path / "store"))
    FileLog(folder.log).append(story()[:1])
    assert folder.store_log is not None
    StoreLog(folder.store_log).append(story())
    assert len(known_state(folder).trials()) == 4


def refused(folder: StudyFolder) -> str:
    with pytest.raises(InputError) as error:
        known_state(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_study_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert refused(StudyFolder(tmp_path, "s")).startswith(f"no study s in {tmp_path}: there is no")
    in_storage = StudyFolder(tmp_path, "s", UPath(tmp_path / "store"))
    assert (
        refused(in_storage)
        == f"no study s in {tmp_path / 'store'}: expected the --storage it ran with"
    )


def test_a_study_without_a_log_names_the_version_that_recorded_it(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    folder.path.mkdir()
    journal = folder.path / "optuna.log"
    lines = [{"op_code": 0}, {"op_code": 2, "user_attr": {"spec": {"version": "0.1.7"}}}]
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    said = refused(folder)
    assert "the study s was recorded by version 0.1.7, which kept no log" in said
    assert "--name" in said
    journal.write_text("{")
    assert "version 0.2.0 or older" in refused(folder)


def test_a_damaged_log_and_one_that_cannot_be_are_said(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    FileLog(folder.log).append([began(), ended(0)])
    assert "tells what cannot have happened: Ended of trial 0" in refused(folder)
    content = folder.log.read_bytes()
    folder.log.write_bytes(content.replace(b'"x"', b'"y"') + content)
    assert "is damaged" in refused(folder)
