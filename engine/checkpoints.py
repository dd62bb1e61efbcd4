"""Index of a study's checkpoints, on a disk or in an object store.

All files are listed once, at the start, because every listing of an object store takes requests
and a study has thousands of files. Later writes and removals update the index in memory.
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
    """Returns the path of a folder on a disk, made absolute, or in an object store.

    Listings of an object store are not cached, so that files written by other machines are seen.
    """
    address = address.removeprefix("file://")
    remote = "://" in address
    return UPath(address, use_listings_cache=False) if remote else UPath(address).absolute()


class Checkpoints:
    """Index of a study's checkpoints, ``SESSION/trial-NUMBER[-ATTEMPT]/checkpoint_N/state.pt``.

    Sessions, attempts and checkpoints are named so that they sort by age.

    Args:
        root: Folder that holds all sessions, see `as_upath`; it need not exist.

    Attributes:
        root: Folder that holds all sessions.
        sessions: Names of the sessions that have files.
        names: Trial number -> names of its checkpoints, as paths relative to the root.
    """

    def __init__(self, root: UPath) -> None:
        self.root = root
        self.sessions: set[str] = set()
        self.names: dict[int, set[str]] = defaultdict(set)
        for parts in self._listed(self.root):
            if parts:  # empty for the object that represents the folder itself in some stores
                self._remember(parts)

    def _listed(self, folder: UPath, prefix: str = "") -> Iterator[tuple[str, ...]]:
        """Yields each file below a folder as the parts of its path relative to the root."""
        with away_is_an_oserror(folder):
            found = folder.fs.find(folder.path, **({"prefix": prefix} if prefix else {}))  # pyright: ignore
        for file in found:
            yield PurePosixPath(file).relative_to(self.root.path).parts

    def _remember(self, parts: tuple[str, ...]) -> None:
        self.sessions.add(parts[0])
        if len(parts) > DEPTH and parts[-1].startswith(checkpoint.FILE):
            self.names[int(parts[1].split("-")[1])].add("/".join(parts[:DEPTH]))

    def saved(self, number: int, name: str) -> None:
        """Adds a newly written checkpoint to the index.

        The worker keeps only its newest `checkpoint.KEPT` checkpoints; older ones leave the index.

        Args:
            number: Number of the trial.
            name: Path of the checkpoint relative to the root.
        """
        folder = name.rpartition("/")[0]
        self.names[number].add(name)
        of_process = sorted(n for n in self.names[number] if n.startswith(f"{folder}/"))
        self.names[number].difference_update(of_process[: -checkpoint.KEPT])
        self.sessions.add(name.split("/")[0])

    def look_again(self, number: int) -> None:
        """Lists the checkpoints of one trial again.

        A process that crashed may have written a checkpoint that it did not report.
        """
        for session in sorted(self.sessions):
            for parts in self._listed(self.root / session, prefix=trial_folder(number)):
                if len(parts) > 1 and parts[1].startswith(trial_folder(number)):
                    self._remember(parts)

    def of_trial(self, number: int) -> list[UPath]:
        """Returns the checkpoints of a trial, complete or not, newest first."""
        by_age = sorted(self.names.get(number, ()), key=lambda name: name.split("/"), reverse=True)
        return [self.root / name for name in by_age]

    def name(self, folder: UPath) -> str:
        """Returns the name of a checkpoint: its path relative to the root."""
        return "/".join(folder.parts[-DEPTH:])

    def latest(self, number: int) -> UPath | None:
        """Returns the newest complete checkpoint of a trial; None if it has none."""
        return next((f for f in self.of_trial(number) if checkpoint.is_whole(f)), None)

    def keep(self, number: int, count: int) -> None:
        """Removes all checkpoints of a trial but its newest `count` complete ones."""
        folders = self.of_trial(number)
        if len(folders) <= count:
            return  # no checkpoint has to be read
        for folder in folders:
            if count and checkpoint.is_whole(folder):
                count -= 1
            else:
                self.remove(number, folder)

    def remove(self, number: int, folder: UPath) -> None:
        """Removes a checkpoint. If that fails, the error is ignored; the next session lists the
        checkpoint again."""
        with suppress(OSError), away_is_an_oserror(folder):
            folder.fs.rm(folder.path, recursive=True)
        self.names[number].discard(self.name(folder))
