"""Bad input on the world-model study's command line."""

from pathlib import Path

import pytest
from moving_stripes import stripes
from refused import Refused, refusing

from datasets.recordings import write_recordings
from studies.world_model_sweep import STUDY


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    return refusing(STUDY, tmp_path, capsys)


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    """Twenty episodes of 50 frames."""
    write_recordings(stripes(20, 50), tmp_path / "drives.arrow")
    return tmp_path / "drives.arrow"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--driver", "sleeper"], "--driver: invalid choice: 'sleeper'"),
        (["--size", "48"], "--size is 48: expected 32 or 64 pixels"),
        (["--steps", "5"], "--steps is 5: expected at least 12 frames an episode"),
        (["--episodes", "3"], "--split random asks for 2, 1 and 0 of 3 episodes"),
        (["--split", "half"], "unknown --split half: expected random or random:A,B,C"),
        (["--recordings", "gone.arrow"], "no file gone.arrow"),
        (["--recordings", "drives.mp4"], "unknown --recordings drives.mp4: expected the path of"),
        (["--core", "gru"], "--core: invalid choice: 'gru'"),
        (["--sampling-rate", "1.5"], "sampling_rate is 1.5: expected 0 to 1"),
        (["--noise", "-0.1"], "noise is -0.1: expected at least 0"),
        (["--hidden", "0"], "hidden is 0: expected at least 1"),
        (["--sequence-length", "4"], "context is 4: expected less than sequence_length"),
        (["--context", "9"], "context is 9: expected less than sequence_length, which is 8"),
    ],
)
def test_what_cannot_be_is_refused(refused: Refused, arguments: list[str], said: str) -> None:
    assert said in refused(*arguments)


def test_a_file_that_was_cut_off_is_refused(refused: Refused, drives: Path) -> None:
    drives.write_bytes(drives.read_bytes()[:5000])
    assert "drives.arrow" in refused("--recordings", str(drives))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sequence-length", "300"], "windows of 301 frames, the longest training episode has"),
        (
            ["--sequence-length", "8", "60"],
            "windows of 61 frames, the longest training episode has",
        ),
        (["--free-steps", "41"], "free_steps is 41, and dreams are judged over 40 frames"),
    ],
)
def test_windows_and_dreams_longer_than_the_episodes_are_refused(
    refused: Refused, drives: Path, arguments: list[str], reason: str
) -> None:
    assert reason in refused("--recordings", str(drives), *arguments)
