"""What was recorded as plain values is what it was before."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Literal

import pytest

from datasets.driving import DrivingOptions
from datasets.errors import InputError
from datasets.sources import MoleculeOptions
from record.values import from_json, made_of, to_json
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
    sizes: tuple[int, ...]


@pytest.mark.parametrize(
    "value",
    [
        Kinds(3, 0.1 + 0.2, True, "two", None, "None.parquet", (1, 2)),
        Kinds(-1, 1e-300, False, "one", 7, None, ()),
        GNNConfig(learning_rate=1 / 3, standardize=False),
        WorldModelConfig(core="scratch", noise=0.1 / 3),
        MoleculeOptions(molecules=50),
        DrivingOptions(size=64),
    ],
)
def test_a_dataclass_is_made_of_what_was_recorded_of_it(value) -> None:
    written = json.dumps(to_json({**asdict(value), "another": "does not matter"}))
    made = made_of(type(value), from_json(json.loads(written)))
    assert made == value
    for field in fields(value):
        assert type(getattr(made, field.name)) is type(getattr(value, field.name))


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="target, unit, split, prior: expected with what was"):
        made_of(MoleculeOptions, {"dataset": "gfn2", "molecules": None})


def test_a_value_that_is_refused_is_said() -> None:
    with pytest.raises(InputError, match="epochs is 0: expected at least 1"):
        made_of(GNNConfig, {**vars(GNNConfig()), "epochs": 0})
