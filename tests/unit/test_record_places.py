"""Where things of a study lie."""

from pathlib import Path

from upath import UPath

from record.folder import StudyFolder


def test_a_study_without_a_shared_storage_lies_in_its_own_folder() -> None:
    folder = StudyFolder(Path("runs"), "s")
    assert folder.log == Path("runs/s/log.jsonl")
    assert folder.sessions == Path("runs/s/trials")
    assert folder.report == Path("runs/s/report")
    assert folder.database == Path("runs/mlflow.db")
    assert (folder.store, folder.store_log, folder.lease, folder.prepared_data) == (None,) * 4


def test_what_all_nodes_need_lies_in_the_shared_storage() -> None:
    folder = StudyFolder(Path("runs"), "s", UPath("memory://bucket/orrery"))
    assert str(folder.store_log) == "memory://bucket/orrery/studies/s/log"
    assert str(folder.sessions) == "memory://bucket/orrery/studies/s/trials"
    assert str(folder.lease) == "memory://bucket/orrery/studies/s/driver"
    assert str(folder.prepared_data) == "memory://bucket/orrery/data"
    assert folder.log == Path("runs/s/log.jsonl")
