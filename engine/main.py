"""Entry point of every study script: `prepare`, `run`, `conclude`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets.addresses import shown
from datasets.errors import InputError, described
from datasets.leaving import leave_quickly
from datasets.terminal import replace_what_cannot_be_shown
from engine.study import Study

if TYPE_CHECKING:
    from engine.command import Command
    from engine.resources import Resources


def main(study: Study[Any], argv: Sequence[str] | None = None) -> int:
    """Runs a study from the command line.

    Args:
        study: The study to run.
        argv: Command-line arguments; None for those of this process.

    Returns:
        The exit code: 0 on success; 1 if no trial finished or not everything could be recorded; 2
        for bad input or a system error; 130 after Ctrl-C.
    """
    replace_what_cannot_be_shown()
    leave_quickly()
    try:
        return _asked(study, sys.argv[1:] if argv is None else list(argv))
    except InputError as error:
        return _failed(shown(str(error)))
    except OSError as error:
        return _failed(f"{described(error)}; once the cause is gone, the same command goes on")
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def _asked(study: Study[Any], arguments: Sequence[str]) -> int:
    from engine.command import command_of
    from engine.definition_check import check_definition
    from engine.last_words import last_words
    from engine.place import check_ready
    from engine.resources import resources_of

    check_definition(study)
    command = command_of(study, arguments)
    check_ready(command)
    with last_words(), resources_of(command) as resources:
        return _run(command, resources)


def _run(command: "Command", resources: "Resources") -> int:
    from engine.conclude import conclude  # these imports take seconds, in which Ray starts
    from engine.prepare import prepare
    from engine.run import run

    with prepare(command, resources) as prepared:
        return 0 if prepared is None else conclude(prepared, run(prepared))


def _failed(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 2
