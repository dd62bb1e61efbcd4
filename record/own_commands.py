"""Names the project's own commands in messages."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def own_command(module: str) -> str:
    """Returns how to type a command from the current folder.

    Args:
        module: Module of the command, such as ``studies.doctor``.

    Returns:
        ``python studies/doctor.py`` in a checkout of the project, ``python -m studies.doctor``
        anywhere else.
    """
    if Path.cwd() == ROOT:
        return f"python {module.replace('.', '/')}.py"
    return f"python -m {module}"
