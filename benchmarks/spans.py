"""When what was done, in every process of a benchmark: lines in files, read back afterwards.

    with span("training", trial="3"):
        ...

Does nothing unless the environment variable `FOLDER` names a folder. A span costs some 50 µs.
"""

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "ORRERY_SPANS"


@dataclass(frozen=True)
class Span:
    """Something that was done.

    Attributes:
        name: What.
        begin: ``time.time()`` when it began; the clock is that of all processes of a machine.
        end: When it ended.
        facts: What else is to be known of it, such as the trial.
    """

    name: str
    begin: float
    end: float
    facts: dict[str, Any]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


@contextmanager
def span(name: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Notes when the block began and ended; more facts may be put into what it yields."""
    begin = time.time()
    try:
        yield facts
    finally:
        folder = os.environ.get(FOLDER)
        if folder is not None:
            line = json.dumps([name, begin, time.time(), facts])
            with (Path(folder) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def timed(owner: Any, name: str, label: str) -> None:
    """Wraps a function of a module, or a method of a class, into a span of this label."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with span(label):
            return function(*args, **kwargs)

    setattr(owner, name, wrapped)


def read(folder: Path) -> list[Span]:
    """All spans of all processes, by their beginning."""
    lines = [
        line
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return sorted((Span(*json.loads(line)) for line in lines), key=lambda span: span.begin)
