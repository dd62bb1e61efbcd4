"""Whether the three records of a study agree: Tune's trials, Optuna's journal and MLflow's runs.

They are joined by the number of the trial in the study, which is its id in all three. Everything
is read, every epoch of every trial; nothing is changed without --repair. Every start of a study
looks as well, less thoroughly, and repairs what it finds.

Exit code: 0 if they agree, 1 if they do not, 2 for bad input.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import filelock
from rich.console import Console
from rich.table import Table

from analysis.command_line import answer, parser
from analysis.runs import TrackingStore
from analysis.texts import whole
from datasets.addresses import shown
from datasets.errors import InputError
from datasets.machine import file_system, is_shared
from studies.checkpoints import Checkpoints, opened
from studies.lease import lease
from studies.reconcile import Finding, Memories, agreement, examine
from studies.recording import KEEP, STORAGE, NotRecorded, Recorder, not_recorded
from studies.records import Records
from studies.search import Journal, mend
from studies.session import JOURNAL, LEDGER, SESSIONS
from studies.shared_copy import SharedCopy


def main(argv: Sequence[str] | None = None) -> int:
    """Examines a study from the command line; returns the exit code."""
    line = parser((__doc__ or "").split("\n\n")[0])
    line.add_argument("--repair", action="store_true", help="repair what can be repaired")
    agreed = False

    def look(typed, uri: str, report: Path) -> str:
        nonlocal agreed
        console = Console(soft_wrap=True, emoji=False)
        agreed = examined(typed.study, uri, report.parent, typed.repair, console)
        return ""

    code = answer(line, argv, look)
    return code or (0 if agreed else 1)


def examined(name: str, uri: str, folder: Path, repair: bool, console: Console) -> bool:
    """Examines a study, and repairs it if asked to; returns whether all agrees at the end.

    Args:
        name: The study's.
        uri: MLflow's tracking URI.
        folder: The study's own.
        repair: Whether to repair.
        console: Where the tables are printed.

    Raises:
        InputError: If there is no such study, or it is running.
    """
    journal = folder / JOURNAL
    try:
        with not_recorded():
            study = TrackingStore(uri).study(name)
        if not journal.is_file():
            raise InputError(
                f"no {journal}: expected the --runs-dir that the study {name} ran with"
            )
        if "objective" not in study.params or KEEP not in study.tags:
            raise InputError(f"the study {name} was hardly begun: its own command goes on")
        if is_shared(kind := file_system(folder)):
            console.print(
                f"{folder} lies on {kind}, which several machines may mount: locks and MLflow's "
                "database are safe on a local disk only\n",
                markup=False,
            )
        with filelock.FileLock(folder / "lock", timeout=0):
            if not repair or not study.tags.get(STORAGE):
                return _examined(name, uri, folder, study.params, study.tags, repair, console)
            store = opened(study.tags[STORAGE]).parent
            with lease(store, folder, partial(console.print, markup=False)) as held:
                copy = SharedCopy(store, journal, Records(folder / LEDGER))
                copy.lease = held
                copy.take()
                agreed = _examined(name, uri, folder, study.params, study.tags, repair, console)
                copy.bring_up()
                return agreed
    except NotRecorded as error:
        raise InputError(f"the tracking store {shown(uri)} does not answer ({error})") from error
    except filelock.Timeout:
        raise InputError(
            f"the study {name} is running: its records agree when it has ended"
        ) from None


def _examined(
    name: str,
    uri: str,
    folder: Path,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    repair: bool,
    console: Console,
) -> bool:
    for said in mend(folder / JOURNAL) if repair else ():
        console.print(said, markup=False)

    def memories() -> Memories:
        """Read anew: what was repaired is to be seen, and not remembered."""
        return Memories(
            Journal(folder / JOURNAL, name),
            Records(folder / LEDGER),
            Recorder(uri, name, folder.parent / "artifacts"),
            Checkpoints(opened(tags.get(STORAGE) or str(folder / SESSIONS))),
            objective=params["objective"],
            by=params["by"],
            keep=whole(KEEP, tags[KEEP]),
        )

    now = memories()
    if now.recorder.identity != now.journal.identity:
        raise InputError(
            f"{shown(uri)} and {folder} do not know the same study {name}: one of them is another "
            "one's"
        )
    found = examine(now, thorough=True)
    _show(agreement(now), found, console)
    repairable = [finding for finding in found if finding.repair is not None]
    if repair and repairable:
        for finding in repairable:
            assert finding.repair is not None
            finding.repair()
        now = memories()
        found = examine(now, thorough=True)
        console.print(f"\n{len(repairable)} repaired; read again:\n")
        _show(agreement(now), found, console)
    elif repairable:
        console.print("\n--repair does it")
    return not found


def _show(known: Mapping[str, Counter[str]], found: Sequence[Finding], console: Console) -> None:
    """Prints how many trials are in which state, and what does not agree."""
    states = dict.fromkeys(state for counts in known.values() for state in counts)
    table = Table("trials", *known, box=None, padding=(0, 2), pad_edge=False)
    for state in states:
        table.add_row(state, *(str(counts[state]) for counts in known.values()))
    table.add_row("all", *(str(counts.total()) for counts in known.values()))
    console.print(table)
    if not found:
        console.print("\nthe three agree")
        return
    console.print()
    for finding in found:
        trial = "the study" if finding.trial is None else f"trial {finding.trial}"
        console.print(f"{trial}: {finding.what}; to repair: {finding.cure}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
