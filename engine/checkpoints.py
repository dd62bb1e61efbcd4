"""Which checkpoints a study has, on a disk or in an object store.

Everything is listed once, at the start: in an object store each look takes a request, and a study
has thousands of files. Afterwards what is written and removed is remembered.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from upath import UPath

from datasets.files import away_is_an_oserror
from trainables import checkpoint
from trainables.message import DEPTH
from trainables.trial_spec import trial_folder


def as_upath(address: str) -> UPath:
    """A folder on a disk or in an object store. What others write there has to be seen, so no
    listing of an object store is remembered."""
    address = address.removeprefix("file://")
    remote = "://" in address
    return UPath(address, use_listings_cache=False) if remote else UPath(address).absolute()


class Checkpoints:
    """Those of a study, in ``SESSION/trial-NUMBER[-ATTEMPT]/checkpoint_N/state.pt``.

    Sessions, attempts and checkpoints are named so that they sort by age.

    Args:
        root: The folder of all sessions, see `opened`; it need not be there.

    Attributes:
        sessions: Names of the sessions that left something.
    """

    def __init__(self, root: UPath) -> None:
        self.root = root
        self.sessions: set[str] = set()
        self.names: dict[int, set[str]] = defaultdict(set)
        for parts in self._listed(self.root):
            if parts:  # some stores have an object that stands for the folder itself
                self._remember(parts)

    def _listed(self, folder: UPath, prefix: str = "") -> Iterator[tuple[str, ...]]:
        """The files below a folder, as parts of their names below the root."""
        with away_is_an_oserror(folder):
            found = folder.fs.find(folder.path, **({"prefix": prefix} if prefix else {}))  # pyright: ignore
        for file in found:
            yield PurePosixPath(file).relative_to(self.root.path).parts

    def _remember(self, parts: tuple[str, ...]) -> None:
        self.sessions.add(parts[0])
        if len(parts) > DEPTH and parts[-1].startswith(checkpoint.FILE):
            self.names[int(parts[1].split("-")[1])].add("/".join(parts[:DEPTH]))

    def saved(self, number: int, name: str) -> None:
        """A checkpoint of a trial was written, under this name below the root; of the same process
        only the newest are left."""
        folder = name.rpartition("/")[0]
        self.names[number].add(name)
        of_process = sorted(n for n in self.names[number] if n.startswith(f"{folder}/"))
        self.names[number].difference_update(of_process[: -checkpoint.KEPT])
        self.sessions.add(name.split("/")[0])

    def look_again(self, number: int) -> None:
        """Lists those of one trial anew: its process died, and may have written one more."""
        for session in sorted(self.sessions):
            for parts in self._listed(self.root / session, prefix=trial_folder(number)):
                if len(parts) > 1 and parts[1].startswith(trial_folder(number)):
                    self._remember(parts)

    def of_trial(self, number: int) -> list[UPath]:
        """The checkpoints of a trial, whole or not, the newest first."""
        by_age = sorted(self.names.get(number, ()), key=lambda name: name.split("/"), reverse=True)
        return [self.root / name for name in by_age]

    def name(self, folder: UPath) -> str:
        """Of a checkpoint, below the root."""
        return "/".join(folder.parts[-DEPTH:])

    def latest(self, number: int) -> UPath | None:
        """The newest whole one of a trial; None if there is none."""
        return next((f for f in self.of_trial(number) if checkpoint.is_whole(f)), None)

    def keep(self, number: int, count: int) -> None:
        """Removes all but the newest whole ones of a trial, where there are more than these."""
        folders = self.of_trial(number)
        if len(folders) <= count:
            return  # without reading them
        for folder in folders:
            if count and checkpoint.is_whole(folder):
                count -= 1
            else:
                self.remove(number, folder)

    def remove(self, number: int, folder: UPath) -> None:
        """Removes a checkpoint; one that cannot be removed is found again by the next session."""
        with suppress(OSError), away_is_an_oserror(folder):
            folder.fs.rm(folder.path, recursive=True)
        self.names[number].discard(self.name(folder))
