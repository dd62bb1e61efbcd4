"""What the README says of options and files is true."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from places import ROOT
from readme import README

from engine.options import Options


def test_the_table_of_options_names_every_option_with_its_default() -> None:
    rows = re.findall(r"^\| (`--.*?) \|(.*)\|(.*)\|$", README, re.MULTILINE)
    named = {
        flag: default for flags, _, default in rows for flag in re.findall(r"`(--\S+)`", flags)
    }
    for field in fields(Options):
        flag = f"--{field.name.replace('_', '-')}"
        assert flag in named, f"{flag} is not in the README"
        if isinstance(field.default, (int, str, Path)) and not isinstance(field.default, bool):
            assert str(field.default) in named[flag]


def test_every_picture_and_file_that_the_readme_names_is_there() -> None:
    linked = re.findall(r"\]\((?!https?:|#)(.+?)\)", README)
    assert {"docs/images/report.png", "docs/report/report.md"} <= {*linked}
    assert [path for path in linked if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md"))]
)
def test_every_script_that_a_page_names_is_there(page: str) -> None:
    folders = "analysis|benchmarks|clusters|datasets|engine|record|studies|tests|trainables"
    named = re.findall(rf"\b((?:{folders})/[\w/]+\.(?:py|yaml))\b", (ROOT / page).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []
