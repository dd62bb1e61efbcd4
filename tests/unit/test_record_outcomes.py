"""The file of what a trial came to on each unit of the test split."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.errors import InputError
from record import outcomes
from record.outcomes import Outcomes, read_outcomes

FOUND = Outcomes(
    np.array([0.0, 0.5, 1.5]),
    np.array([1.0, 2.0, 1.0]),
    {"row": np.array([7, 3, 9]), "frames": np.arange(24, dtype=np.uint8).reshape(2, 3, 4)},
    {"label propagation": np.array([1.0, 1.0, 0.5])},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    FOUND.write(tmp_path / "outcomes.npz")
    return tmp_path / "outcomes.npz"


def equal(one: Outcomes, other: Outcomes) -> bool:
    pairs = [(one.errors, other.errors), (one.reference, other.reference)]
    pairs += [(one.more[name], other.more[name]) for name in one.more]
    pairs += [(one.baselines[name], other.baselines[name]) for name in one.baselines]
    names = [(each.more.keys(), each.baselines.keys()) for each in (one, other)]
    return names[0] == names[1] and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs
    )


def test_what_was_written_is_read(file: Path) -> None:
    assert equal(read_outcomes(file), FOUND)


def test_numpy_alone_reads_the_file(file: Path) -> None:
    with np.load(file, allow_pickle=False) as arrays:
        ours = {"errors", "reference", "baseline/label propagation"}
        assert set(arrays.files) == {*ours, "more/row", "more/frames"}
        assert arrays["errors"].tolist() == [0.0, 0.5, 1.5]


def test_the_score_is_one_less_the_share_of_the_reference() -> None:
    assert FOUND.score == pytest.approx(1 - 2 / 4)
    assert Outcomes(np.zeros(2), np.ones(2)).score == 1
    assert Outcomes(np.ones(2), np.ones(2)).score == 0
    assert Outcomes(np.full(2, 3.0), np.ones(2)).score == -2


@pytest.mark.parametrize(
    ("errors", "reference", "said"),
    [
        ([1.0, 2.0], [1.0], r"got shapes \(2,\) and \(1,\)"),
        ([[1.0], [2.0]], [[1.0], [2.0]], r"got shapes \(2, 1\) and"),
        ([1.0, -1e-9], [1.0, 1.0], "errors from 0 on"),
        ([1.0, np.nan], [1.0, 1.0], "errors from 0 on"),
        ([1.0, 1.0], [1.0, np.inf], "errors from 0 on"),
    ],
)
def test_what_is_no_error_a_unit_is_refused(errors: Any, reference: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Outcomes(np.array(errors), np.array(reference))


def test_a_file_that_cannot_be_written_leaves_the_one_before(file: Path) -> None:
    class Broken:
        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            raise OSError("planted")

    with pytest.raises(OSError, match="planted"):
        Outcomes(FOUND.errors, FOUND.reference, {"x": Broken()}).write(file)  # pyright: ignore
    assert equal(read_outcomes(file), FOUND)
    assert list(file.parent.iterdir()) == [file]


def nothing_else(one: Outcomes) -> bool:
    """Whether what was read is what was written, if not all of it: some bytes, such as the moment
    of writing, say nothing of the content, and some but that there is a further array."""
    more = {name: array for name, array in FOUND.more.items() if name in one.more}
    known = {name: array for name, array in FOUND.baselines.items() if name in one.baselines}
    return equal(one, Outcomes(FOUND.errors, FOUND.reference, more, known))


def test_whatever_byte_is_changed_nothing_else_is_read(file: Path) -> None:
    whole = file.read_bytes()
    refused = 0
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert nothing_else(read_outcomes(file)), place
        except InputError as error:
            refused += 1
            assert str(error).startswith("outcomes.npz is no file of outcomes, or damaged (")
    assert refused > len(whole) / 2


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"outcomes.npz is no file of outcomes, or damaged \("):
        read_outcomes(file)


def as_npy(array: Any) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"no archive", as_npy(np.ones(3)), pickle.dumps([1])],
    ids=["text", "one array", "a pickle"],
)
def test_another_file_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match="is no file of outcomes"):
        read_outcomes(file)


@pytest.mark.parametrize("missing", ["errors", "reference"])
def test_a_file_without_one_of_its_arrays_is_refused(file: Path, missing: str) -> None:
    arrays = {"errors": FOUND.errors, "reference": FOUND.reference}
    del arrays[missing]
    np.savez(file, allow_pickle=False, **arrays)
    with pytest.raises(InputError, match=missing):
        read_outcomes(file)


def test_arrays_that_do_not_belong_together_are_refused(file: Path) -> None:
    np.savez(file, errors=np.ones(3), reference=np.ones(2))
    with pytest.raises(InputError, match="got shapes"):
        read_outcomes(file)


class Planted:
    """Leaves a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_nothing_is_unpickled(file: Path) -> None:
    marker = file.parent / "marker"
    odd = np.array([Planted(marker)], dtype=object)
    np.savez(file, errors=odd, reference=np.ones(1))
    with pytest.raises(InputError, match="is no file of outcomes"):
        read_outcomes(file)
    assert not marker.exists()


def test_a_file_that_would_unpack_to_too_much_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "LARGEST", 10_000)
    Outcomes(np.zeros(1000), np.zeros(1000)).write(file)
    assert file.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"claim 16,\d{3} bytes, expected at most 10,000"):
        read_outcomes(file)


def test_an_array_that_claims_more_than_there_is_is_refused(file: Path) -> None:
    header = io.BytesIO()
    claimed = {"descr": "<f8", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_1_0(header, claimed)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("errors.npy", header.getvalue())
        archive.writestr("reference.npy", as_npy(np.ones(1)))
    with pytest.raises(InputError, match="is no file of outcomes"):
        read_outcomes(file)


@pytest.mark.parametrize("errors", [[1.0], [1.0, -1.0], [1.0, np.inf]])
def test_a_baselines_errors_are_like_those_of_a_trial(errors: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Outcomes(np.ones(2), np.ones(2), baselines={"a coin": np.array(errors)})
