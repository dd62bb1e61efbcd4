"""The example in a folder of one's own: it runs there, and is found again by its file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT
from ray import cloudpickle

from analysis import report
from engine.main import main
from engine.on_ray.own_files import travel
from record.definition import defined_in
from record.folder import StudyFolder
from record.known_log import known_state
from record.reading import recorded_study
from studies import replay

LITTLE = ("--trials", "2", "--epochs", "2", "--width", "8", "--sampler", "random")
FINALS = ("--finalists", "1", "--seeds", "2")


@pytest.fixture(autouse=True)
def _forgotten(tmp_path: Path) -> Iterator[None]:
    """Has modules of a test's own files forgotten after it."""
    known = {*sys.modules}
    yield
    for name in {*sys.modules} - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def command(folder: Path, *arguments: str, code: int | None = 0) -> str:
    """Runs a command in a folder, which ends with this code (None: any); returns its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert code in (None, done.returncode), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the file of the study, and what the study has left there."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(ROOT / "studies" / "example.py", folder / "digits.py")
    said = command(folder, "digits.py", "--local", *LITTLE, *FINALS)
    assert "scoring" in said
    assert f"figures and tables: {Path('runs/digits/report')}" in said
    return folder


@pytest.fixture
def own(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the file for a test to change; the study lies where it was run, where this process
    is, too."""
    monkeypatch.chdir(ran)
    kept = (ran / "digits.py").read_bytes()
    (tmp_path / "digits.py").write_bytes(kept)
    return tmp_path / "digits.py"


@pytest.fixture
def changed(ran: Path, own: Path) -> Iterator[Path]:
    """Where the study's file has been changed since; gives a copy of what it was."""
    before = (ran / "digits.py").read_bytes()
    (ran / "digits.py").write_bytes(before + b"raise SystemExit('it was imported')\n")
    yield own
    (ran / "digits.py").write_bytes(before)


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line that a command said."""
    said = capsys.readouterr()
    assert code == 2, said.out + said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1, said.err
    return said.err


def test_it_runs_from_nothing_but_its_file(ran: Path) -> None:
    """And leaves nothing beside what studies leave."""
    there = {path.name for path in ran.iterdir()} - {"__pycache__"}
    assert there <= {"digits.py", "runs", "data"}
    study = recorded_study(StudyFolder(ran / "runs", "digits"), f"sqlite:///{ran}/runs/mlflow.db")
    assert [trial.status for trial in study.every] == ["finished"] * len(study.every)
    assert len(study.finals) >= 2
    scores = known_state(StudyFolder(ran / "runs", "digits")).scores
    for trial in study.finals:
        outcomes = study.artifacts.outcomes(trial)
        assert outcomes is not None
        assert {*outcomes.errors} == {0.0, 1.0}, "each digit is read, or misread"
        assert len(outcomes.errors) == study.fact("test") == 180
        assert scores[trial.number].scores == {"test/score": outcomes.score}
        value = study.value(trial)
        assert abs(outcomes.score - value) < 0.2, "both are accuracies"


def test_its_file_is_among_the_versions_and_a_change_is_named(ran: Path, tmp_path: Path) -> None:
    for name in ("digits.py", "runs", "data"):
        copy = shutil.copytree if (ran / name).is_dir() else shutil.copy
        copy(ran / name, tmp_path / name)
    file = tmp_path / "digits.py"
    before = file.read_bytes()
    file.write_bytes(before + b"# another line\n")
    typed = ("--local", "--trials", "3", *LITTLE[2:], *FINALS)
    said = command(tmp_path, "digits.py", *typed)
    assert f"{file} is not what it was in the session before" in said
    state = known_state(StudyFolder(tmp_path / "runs", "digits"))
    versions = [trial.placements[0].versions["digits.py"] for trial in state.search()]
    digests = [sha256(content).hexdigest()[:10] for content in (before, file.read_bytes())]
    assert versions == [digests[0], digests[0], digests[1]]
    assert "is not what it was" not in command(tmp_path, "digits.py", *typed)
    said = command(tmp_path, "-m", "studies.replay", "digits/0", code=None)
    assert f"digits.py=={digests[0]}, now" in said


def test_it_is_reported_from_its_record(ran: Path) -> None:
    page = ran / "runs" / "digits" / "report" / "report.html"
    page.unlink()
    command(ran, "-m", "analysis.report", "digits")
    assert "Which small network reads handwritten digits best?" in page.read_text()
    table = (page.parent / "finals.md").read_text()
    assert "180 test digits" in table


def test_it_is_replayed_bit_for_bit(ran: Path) -> None:
    said = command(ran, "-m", "studies.replay", "digits/1")
    assert "numbers: bit for bit the same" in said


def test_after_a_change_of_its_file_it_is_refused(
    ran: Path, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whoever needs what the file defines; the file is not imported."""
    expected = f"{ran / 'digits.py'}, which defines digits, has changed since the study was run"
    for ask, named in ((replay.main, "digits/1"), (report.main, "digits")):
        said = refused(capsys, ask([named]))
        assert expected in said
        assert "give it with --study digits.py" in said


def test_the_file_can_be_named(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(["digits/1", "--study", str(changed)]) == 0
    assert "numbers: bit for bit the same" in capsys.readouterr().out
    assert report.main(["digits", "--study", str(changed)]) == 0
    assert "report.html" in capsys.readouterr().out


def test_a_file_that_is_gone_is_asked_for(
    ran: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ran / "digits.py").rename(ran / "moved.py")
    try:
        said = refused(capsys, replay.main(["digits/1"]))
    finally:
        (ran / "moved.py").rename(ran / "digits.py")
    assert f"digits is defined in {ran / 'digits.py'}, which is not there: give it with" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("STUDIES = ()", "defines no STUDY: expected STUDY = Study(...) in it"),
        ("import nothing_of_the_name", "cannot be imported: "),
        ("def study(:", "cannot be imported: "),
    ],
)
def test_a_file_that_defines_no_study_is_refused(
    own: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    own.write_text(text)
    told = refused(capsys, replay.main(["digits/1", "--study", str(own)]))
    assert f"{own} {said}" in told


def test_a_file_of_another_study_is_refused(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own.write_text(own.read_text().replace('key="digits"', 'key="letters"'))
    told = refused(capsys, replay.main(["digits/1", "--study", str(own)]))
    assert "digits is a study of digits, that file defines letters" in told


def test_a_path_that_only_the_tracking_store_tells_is_never_imported(
    ran: Path, own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write there could else have any file run; the user may name the same file."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{ran}/runs/mlflow.db")
    monkeypatch.chdir(own.parent)
    said = refused(capsys, replay.main(["digits/1"]))
    assert f"digits is defined in {ran / 'digits.py'}, on another machine: give it with" in said
    assert replay.main(["digits/1", "--study", str(own)]) == 0


def in_two_files(folder: Path) -> Path:
    """The study, with its network in a module beside it."""
    text = (ROOT / "studies" / "example.py").read_text()
    begin, end = text.index("def network("), text.index("def wrong(")
    layers = 'LAYERS = {"relu": nn.ReLU, "tanh": nn.Tanh}\n'
    head = f'"""The networks."""\n\nfrom typing import Any\n\nfrom torch import nn\n\n{layers}\n\n'
    network = text[begin:end].replace("DigitsConfig", "Any").rstrip() + "\n"
    (folder / "networks_of_digits.py").write_text(head + network)
    rest = (text[:begin] + text[end:]).replace(layers, "")
    study = folder / "digits.py"
    study.write_text(
        rest.replace("from torch", "from networks_of_digits import network\nfrom torch")
    )
    return study


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a study in two files, in whose folder this process is."""
    monkeypatch.chdir(tmp_path)
    return in_two_files(tmp_path)


@pytest.mark.ray
def test_a_module_beside_the_file_is_found(
    beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the workers of the study's own command, on a Ray of its own, and by who finds the study
    again."""
    assert "scoring" in command(beside.parent, "digits.py", *LITTLE)
    assert "networks_of_digits" not in sys.modules
    assert replay.main(["digits/1"]) == 0
    assert "numbers: bit for bit the same" in capsys.readouterr().out
    assert str(beside.parent) not in sys.path, "it is looked into while the file is imported only"


def test_a_checkout_in_the_folder_of_the_study_does_not_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray submit` puts the study into the home folder, beside the folder of the project."""
    for name in ("beside", "orrery/below"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
        module = ModuleType(file.stem)
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, file.stem, module)
    before = cloudpickle.list_registry_pickle_by_value()
    try:
        travel(str(tmp_path / "gnn_sweep.py"))
        assert cloudpickle.list_registry_pickle_by_value() - before == {"beside"}
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules["beside"])


@pytest.mark.ray
def test_nodes_of_a_cluster_need_neither_of_the_files(
    beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They get what is in both with the problem. The workers of the one Ray of the tests stand for
    them, which was there before the files were, and has no path to them."""
    study = defined_in(beside)
    try:
        travel(study.file)
        assert main(study, [*LITTLE, "--max-concurrent", "1"]) == 0
        assert "scoring" in capsys.readouterr().out
        assert replay.main(["digits/1"]) == 0
        assert "numbers: bit for bit the same" in capsys.readouterr().out
    finally:
        for name in ("study_digits", "networks_of_digits"):
            cloudpickle.unregister_pickle_by_value(sys.modules[name])
