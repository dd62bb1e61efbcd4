"""A study whose trials record their node and where in its memory the study's data are."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from fake_study import FAKE
from fake_task import FakeConfig, FakeTask

from trainables.fit import SupervisedProblem


@dataclass(frozen=True)
class SpreadOptions:
    """Data options of the study."""

    marks: str = ""
    """Folder into which trials write their records."""


@dataclass(frozen=True)
class Data:
    """Data of eight million bytes, far more than Ray sends along with a task.

    Attributes:
        numbers: One million numbers.
        marks: Folder into which trials write their records.
    """

    numbers: np.ndarray
    marks: Path


class SpreadTask(FakeTask):
    """A task that creates a file named after its node and the memory location of the numbers.

    The location is the inode of the mapped file, which is the node's object store, and the offset
    in it.
    """

    def __init__(self, data: Data, config: FakeConfig, device: torch.device) -> None:
        super().__init__(config, device)
        node = ray.get_runtime_context().get_node_id()
        (data.marks / f"{node}_{_place(data.numbers)}").touch()


def _place(numbers: np.ndarray) -> str:
    address = numbers.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, _, inode = line.split()[:5]
        begin, end = (int(bound, 16) for bound in span.split("-"))
        if begin <= address < end:
            return f"{inode}_{int(offset, 16) + address - begin}"
    raise AssertionError("every address is mapped")


def open_spread(options: SpreadOptions, *arguments: Any) -> SupervisedProblem:
    del arguments
    data = Data(np.arange(1_000_000, dtype=np.float64), Path(options.marks))
    return SupervisedProblem(partial(SpreadTask, data), "spread", facts={"train": 1})


SPREAD = replace(
    FAKE,
    key="spread",
    data_options=SpreadOptions,
    open=open_spread,
    data_title=lambda _: "nodes",
)
