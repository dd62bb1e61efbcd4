"""What README.md and docs/ say of commands, options and files is true; what they link is there."""

import re
import runpy
import shlex
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
from pages import BLOCK, COMMANDS, EXECUTED, MAKE, NOT_EXECUTED, PAGES, accounts, blocks, commands
from places import ROOT, TESTS

from datasets.driving import DrivingOptions
from datasets.sources import MoleculeOptions
from engine.options import Options

REPORT = "docs/report/report.md"
LINKING = {**PAGES, REPORT: (ROOT / REPORT).read_text()}

LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)#?([^)\s]*)\)")

TYPED = r"(?:python|make|ray|aws|docker|pip|source|export|cd|srun|taskset|curl|mlflow) "

SCRIPT = re.compile(r"\b((?:benchmarks|studies)/\w+\.py)\b(.*)")


def flag(name: str) -> str:
    return f"--{name.rstrip('_').replace('_', '-')}"


# Commands


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_executed_or_listed_with_the_reason_why_not(command: str) -> None:
    assert len(accounts(command)) == 1


def test_a_command_that_nobody_accounts_for_is_noticed() -> None:
    page = "text\n\n   ```sh\n   make study # now\n   python new.py \\\n     --all\n   ```\n"
    assert commands(page) == ["make study", "python new.py --all"]
    assert [*map(accounts, commands(page))] == [["acceptance/test_page_commands.py"], []]


def test_the_list_of_what_is_not_executed_names_commands_of_the_pages() -> None:
    stale = [how for how in NOT_EXECUTED if not any(map(partial(begins, how), COMMANDS))]
    assert stale == []


def begins(how: str, command: str) -> bool:
    return command.startswith(how)


@pytest.mark.parametrize("test", EXECUTED)
def test_the_file_that_executes_commands_is_there(test: str) -> None:
    assert (TESTS / test).is_file()
    assert EXECUTED[test] != []


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_is_not_marked_as_commands_has_none(page: str) -> None:
    others = [block for marked, block in blocks(PAGES[page]) if marked != "sh"]
    assert re.findall(rf"^{TYPED}.*", "\n".join(others), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_no_block_that_it_does_not_close(page: str) -> None:
    assert "```" not in BLOCK.sub("", PAGES[page])


TYPED_WITH_OPTIONS = sorted(
    {found for command in COMMANDS for found in SCRIPT.findall(command) if "--" in found[1]}
)
"""Scripts, each with what a page types after it."""


@pytest.mark.parametrize(("script", "arguments"), TYPED_WITH_OPTIONS)
def test_a_command_has_only_options_that_there_are(
    script: str,
    arguments: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one that takes hours, or a cloud."""
    typed = [word for word in shlex.split(arguments) if word != "--"]
    monkeypatch.setattr(sys, "argv", [script, *typed, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    known = re.findall(r"--[a-z][\w-]*", said.out)
    assert {word for word in typed if word.startswith("--")} <= {*known}


@pytest.mark.parametrize("command", MAKE)
def test_a_make_command_is_run_by_ci_or_by_the_test_of_the_pages(command: str) -> None:
    assert command == "make ui" or command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_make_target_that_a_page_names_is_there() -> None:
    named = set(re.findall(r"`make ([\w-]+)`", "\n".join(PAGES.values())))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"study", "test-fast", "cluster-test"} <= named <= targets


# Options


def defaults(page: str) -> dict[str, str]:
    """The options that a table of a page names -> what it gives as their default."""
    rows = re.findall(r"^\| (`--.*?) \|.*\|(.*)\|$", PAGES[page], re.MULTILINE)
    return {flag: default for flags, default in rows for flag in re.findall(r"`(--\S+)`", flags)}


@pytest.mark.parametrize(
    ("page", "options"), [("docs/options.md", Options), ("docs/data.md", DrivingOptions)]
)
def test_a_table_of_options_names_every_option_with_its_default(page: str, options: type) -> None:
    named = defaults(page)
    assert set(named) == {flag(field.name) for field in fields(options)}
    for field in fields(options):
        if isinstance(field.default, (int, str, Path)) and not isinstance(field.default, bool):
            assert str(field.default) in named[flag(field.name)]


def test_the_page_on_data_names_every_option_of_molecules_with_its_default() -> None:
    text = PAGES["docs/data.md"]
    assert [
        each.name for each in fields(MoleculeOptions) if f"`{flag(each.name)}" not in text
    ] == []
    assert f"| `{MoleculeOptions.dataset}` (default) |" in text
    assert f"| `{MoleculeOptions.split}` (default) |" in text
    assert f"`{MoleculeOptions.target}`" in text


# Files, links and what is shown


def test_every_script_that_a_page_names_is_there() -> None:
    folders = "analysis|benchmarks|clusters|datasets|engine|record|studies|tests|trainables"
    script = rf"\b((?:{folders})/[\w/]+\.(?:py|yaml))\b"
    named = {(page, path) for page, text in PAGES.items() for path in re.findall(script, text)}
    assert len(named) > 40
    assert [each for each in named if not (ROOT / each[1]).is_file()] == []


def links(page: str) -> list[tuple[str, str]]:
    """The files that a page links, from the project's folder, and the heading in each."""
    folder = (ROOT / page).parent
    return [
        ((folder / path).resolve().relative_to(ROOT).as_posix() if path else page, heading)
        for path, heading in LINK.findall(LINKING[page])
    ]


def headings(page: str) -> set[str]:
    """The headings of a page, as links name them."""
    lines = re.findall(r"^#+ (.+)$", BLOCK.sub("", LINKING[page]), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line).lower().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", LINKING)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: str) -> None:
    assert [path for path, _ in links(page) if not (ROOT / path).is_file()] == []
    named = [(path, heading) for path, heading in links(page) if heading]
    assert [each for each in named if each[1] not in headings(each[0])] == []


def test_the_readme_links_every_page_and_the_report() -> None:
    assert {*LINKING} - {"README.md"} <= {path for path, _ in links("README.md")}


def test_every_picture_is_on_a_page() -> None:
    shown = {path for page in LINKING for path, _ in links(page)}
    pictures = {each.relative_to(ROOT).as_posix() for each in (ROOT / "docs").rglob("*.png")}
    assert len(pictures) > 10
    assert pictures - shown == set()


def test_the_output_that_pages_show_is_of_the_study_whose_report_is_there() -> None:
    whole = "\n".join(block for _, block in blocks(PAGES["docs/reports.md"]))
    shown = [block for _, block in blocks(PAGES["README.md"]) if "best of 16 trials" in block]
    assert {*shown[0].splitlines()} <= {*whole.splitlines()}
    rows = re.findall(r"^\|.+\|$", whole, re.MULTILINE)
    assert len(rows) == 16
    assert [row for row in rows if row not in LINKING[REPORT]] == []
