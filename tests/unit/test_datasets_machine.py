"""A process's share of its machine, from what the kernel says of affinity and control groups."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from datasets import machine
from datasets.machine import cores, file_system, is_shared, memory_left

GIB = 2**30


class Machine:
    """The kernel's files of a machine with 16 cores and 64 GiB free.

    Args:
        root: Where they are made up.
    """

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"

    def is_in(self, *lines: str) -> None:
        """The process is in these groups, as ``/proc/self/cgroup`` says it."""
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def has(self, group: str, **files: str) -> None:
        """A group has files, dots in their names written as two underscores."""
        folder = self.cgroups / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(f"{content}\n")

    def cores(self) -> int:
        return cores(self.proc, self.cgroups)

    def memory_left(self) -> float:
        """GiB."""
        return memory_left(self.proc, self.cgroups) / GIB


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    class Free:
        available = 64 * GIB

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", Free)
    return Machine(tmp_path)


def test_a_process_without_a_share_has_the_whole_machine(made_up: Machine) -> None:
    made_up.is_in("0::/user.slice/session.scope")
    made_up.has("user.slice/session.scope", cpu__max="max 100000", memory__max="max")
    assert made_up.cores() == 16
    assert made_up.memory_left() == 64


def test_a_machine_that_has_no_such_files_is_one_s_own(made_up: Machine) -> None:
    assert made_up.cores() == 16
    assert made_up.memory_left() == 64


def test_where_there_is_no_affinity_all_cores_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores(tmp_path, tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores(tmp_path, tmp_path) == 1


def test_cores_are_those_of_the_affinity(
    made_up: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    assert made_up.cores() == 1


@pytest.mark.parametrize(
    ("quota", "whole"),
    [
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("25000 10000", 2),
        ("3200000 100000", 16),
        ("max 100000", 16),
    ],
)
def test_a_quota_gives_whole_cores_and_at_least_one(
    made_up: Machine, quota: str, whole: int
) -> None:
    made_up.is_in("0::/job")
    made_up.has("job", cpu__max=quota)
    assert made_up.cores() == whole


def test_the_groups_above_count_too(made_up: Machine) -> None:
    made_up.is_in("0::/kubepods/pod/container")
    made_up.has("kubepods", cpu__max="800000 100000", memory__max=str(8 * GIB))
    made_up.has("kubepods/pod", cpu__max="300000 100000", memory__max=str(4 * GIB))
    made_up.has("kubepods/pod/container", cpu__max="max 100000", memory__max="max")
    made_up.has("kubepods", memory__current=str(5 * GIB))
    made_up.has("kubepods/pod", memory__current=str(2 * GIB))
    assert made_up.cores() == 3
    assert made_up.memory_left() == 2


def test_a_container_sees_its_group_at_the_top(made_up: Machine) -> None:
    """Docker on version 1 names the group as the host does, and mounts it as the root."""
    made_up.is_in("11:memory:/docker/ab12", "4:cpu,cpuacct:/docker/ab12", "1:name=systemd:/")
    made_up.has("cpu,cpuacct", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    made_up.has(
        "memory",
        memory__limit_in_bytes=str(6 * GIB),
        memory__usage_in_bytes=str(3 * GIB),
        memory__stat=f"cache 9\ninactive_file 7\ntotal_inactive_file {GIB}",
    )
    assert made_up.cores() == 4
    assert made_up.memory_left() == 4


def test_version_1_says_no_quota_and_no_limit_in_numbers(made_up: Machine) -> None:
    made_up.is_in("3:memory:/", "2:cpu:/", "0::/")
    made_up.has("cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    made_up.has(
        "memory",
        memory__limit_in_bytes="9223372036854771712",
        memory__usage_in_bytes=str(GIB),
    )
    assert made_up.cores() == 16
    assert made_up.memory_left() == 64


def test_a_job_of_slurm_s_on_version_1(made_up: Machine) -> None:
    job = "slurm/uid_1000/job_7"
    made_up.is_in(f"9:memory:/{job}/step_0/task_0", f"5:cpuacct,cpu:/{job}/step_0", "0::/")
    made_up.has(f"cpu/{job}", cpu__cfs_quota_us="600000", cpu__cfs_period_us="100000")
    made_up.has(f"memory/{job}", memory__limit_in_bytes=str(2 * GIB))
    assert made_up.cores() == 6
    assert made_up.memory_left() == 2


def test_file_cache_makes_room_when_it_is_needed(made_up: Machine) -> None:
    made_up.is_in("0::/")
    made_up.has(
        "",
        memory__max=str(10 * GIB),
        memory__current=str(9 * GIB),
        memory__stat=f"anon 5\nfile 6\ninactive_file {8 * GIB}\nactive_file 1",
    )
    assert made_up.memory_left() == 9


def test_a_group_that_is_full_has_none_left(made_up: Machine) -> None:
    made_up.is_in("0::/job")
    made_up.has("job", memory__max=str(GIB), memory__current=str(GIB + 4096))
    assert made_up.memory_left() == 0


def test_the_limit_of_the_machine_itself_counts(made_up: Machine) -> None:
    made_up.is_in("0::/job")
    made_up.has("job", memory__max=str(500 * GIB), memory__current="0")
    assert made_up.memory_left() == 64


def test_a_file_that_this_user_may_not_read_tells_nothing(
    made_up: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up.is_in("0::/job")
    made_up.has("job", cpu__max="100000 100000")
    read = Path.read_text

    def refused(file: Path, **more: str) -> str:
        if file.name == "cpu.max":
            raise PermissionError(13, "Permission denied")
        return read(file, **more)

    monkeypatch.setattr(Path, "read_text", refused)
    assert made_up.cores() == 16


def test_this_machine_is_read() -> None:
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert 0 < machine.memory_left() <= psutil.virtual_memory().total


@dataclass
class Mount:
    """As psutil describes one."""

    mountpoint: str
    fstype: str


@pytest.mark.parametrize(
    ("folder", "kind", "shared"),
    [
        ("/home/ada/runs", "nfs4", True),
        ("/scratch/runs/s", "xfs", False),
        ("/mnt/away", "fuse.sshfs", True),
        ("/var/tmp", "ext4", False),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(
    monkeypatch: pytest.MonkeyPatch, folder: str, kind: str, shared: bool
) -> None:
    mounts = {"/": "ext4", "/home": "nfs4", "/scratch": "xfs", "/mnt/away": "fuse.sshfs"}
    made_up = [Mount(*each) for each in mounts.items()]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: made_up)
    assert file_system(Path(folder)) == kind
    assert is_shared(kind) == shared


def test_a_file_system_that_is_not_known_is_not_called_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [])
    assert file_system(Path("/x")) == ""
    assert not is_shared("")
