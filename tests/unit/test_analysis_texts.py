"""What was recorded as text is what it was before."""

from dataclasses import asdict, dataclass, fields
from typing import Annotated, Literal

import pytest

from analysis.texts import from_texts
from datasets.driving import DrivingOptions
from datasets.errors import InputError
from datasets.sources import MoleculeOptions
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import WorldModelConfig


@dataclass(frozen=True)
class Kinds:
    """A field of each kind."""

    whole: Annotated[int, "searched"]
    share: float
    flag: bool
    choice: Literal["one", "two"]
    maybe: int | None
    file: str | None


@pytest.mark.parametrize(
    "value",
    [
        Kinds(3, 0.1 + 0.2, True, "two", None, "None.parquet"),
        Kinds(-1, 1e-300, False, "one", 7, None),
        GNNConfig(learning_rate=1 / 3, standardize=False),
        WorldModelConfig(core="scratch", noise=0.1 / 3),
        MoleculeOptions(molecules=50),
        DrivingOptions(size=64),
    ],
)
def test_a_dataclass_is_read_back_from_its_texts(value) -> None:
    texts = {name: str(each) for name, each in asdict(value).items()}
    read = from_texts(type(value), {**texts, "another": "does not matter"})
    assert read == value
    for field in fields(value):
        assert type(getattr(read, field.name)) is type(getattr(value, field.name))


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="target, unit, split: expected with what was recorded"):
        from_texts(MoleculeOptions, {"dataset": "gfn2", "molecules": "None"})


def test_a_value_that_is_refused_is_said() -> None:
    with pytest.raises(InputError, match="epochs is 0: expected at least 1"):
        from_texts(GNNConfig, {n: str(v) for n, v in {**vars(GNNConfig()), "epochs": 0}.items()})


@pytest.mark.parametrize(("field", "text"), [("epochs", "many"), ("dropout", "0,1")])
def test_a_number_that_is_none_is_said(field: str, text: str) -> None:
    with pytest.raises(InputError, match=f"^{field} is recorded as '{text}': expected a number"):
        from_texts(GNNConfig, {n: str(v) for n, v in {**vars(GNNConfig()), field: text}.items()})
