"""How a machine of a cluster gets uv: downloaded once, and taken only if it is the known one."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from places import ROOT

FILES = pytest.mark.parametrize("file", ["cluster.yaml", "clusters/on-prem.yaml"])
UV = "#!/bin/sh\necho a uv\n"


def command(file: str) -> str:
    """The set-up command that installs uv."""
    config = yaml.safe_load((ROOT / file).read_text())
    (found,) = [each for each in config["setup_commands"] if each.startswith("command -v uv")]
    return found


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """What a stub of curl downloads."""
    file = tmp_path / "uv.whl"
    with zipfile.ZipFile(file, "w") as members:
        members.writestr("uv-0.13.9.data/scripts/uv", UV)
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "curl"
    stub.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncp {file} uv.whl\n')
    stub.chmod(0o755)
    return file


def set_up(tmp_path: Path, line: str) -> int:
    """Runs a set-up command as the launcher does, on a machine without uv."""
    path = [f"{tmp_path}/bin", "/usr/bin", "/bin", str(Path(sys.executable).parent)]
    environment = {"HOME": str(tmp_path / "home"), "PATH": os.pathsep.join(path)}
    shell = ["bash", "--noprofile", "--norc", "-c", f"true && ({line})"]
    return subprocess.run(shell, env=environment, capture_output=True, check=False).returncode


@FILES
def test_a_download_that_is_another_one_is_not_installed(
    tmp_path: Path, wheel: Path, file: str
) -> None:
    assert set_up(tmp_path, command(file)) != 0
    assert not (tmp_path / "home").exists()


@FILES
def test_uv_is_installed_where_its_checksum_is_the_known_one(
    tmp_path: Path, wheel: Path, file: str
) -> None:
    known = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert set_up(tmp_path, re.sub(r"sum=\w{64}", f"sum={known}", command(file))) == 0
    uv = tmp_path / "home" / ".local" / "bin" / "uv"
    assert uv.read_text() == UV
    assert os.access(uv, os.X_OK)
    assert "--fail" in (tmp_path / "asked").read_text()


@FILES
def test_a_machine_that_has_uv_downloads_nothing(tmp_path: Path, wheel: Path, file: str) -> None:
    wheel.rename(tmp_path / "bin" / "uv")
    (tmp_path / "bin" / "uv").chmod(0o755)
    assert set_up(tmp_path, command(file)) == 0
    assert not (tmp_path / "asked").exists()
