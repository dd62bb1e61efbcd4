"""Command line shared by the tools that read the log of a recorded study."""

import os

from analysis.command_line import Parser, add_runs_dir
from engine.checkpoints import as_upath


def parser(description: str) -> Parser:
    """Returns a parser with the arguments that locate a recorded study and its log.

    Args:
        description: First paragraph of the ``--help`` text.
    """
    made = Parser(description=description, allow_abbrev=False)
    made.add_argument("study", metavar="NAME", help="name of the study")
    add_runs_dir(made)
    made.add_argument(
        "--storage",
        type=as_upath,
        default=os.environ.get("ORRERY_STORAGE") or None,
        metavar="ADDRESS",
        help="the shared storage that the study ran with, such as s3://BUCKET/FOLDER, if any",
    )
    return made
