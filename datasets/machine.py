"""Finds the cores and the memory that this process may use, and the file systems of its folders.

A batch system, a container or ``taskset`` limits a job to a share of the machine. Cores are
limited by the process's affinity and by the CPU quota of its control group (cgroup), memory by the
limit of that group; parent groups count too, as container runtimes and batch systems nest them.
Both versions of cgroups are supported, at the paths where systemd and Docker mount them.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")

SHARED = ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "beegfs", "gpfs", "glusterfs", "9p")
"""File systems that several machines may mount; so may all of ``fuse.*``, such as sshfs."""


@dataclass(frozen=True)
class MemoryFiles:
    """Names of the files in which a version of cgroups reports a group's memory, in bytes.

    Attributes:
        limit: File with the limit.
        used: File with the memory in use, file cache included.
        reclaimable: Key in ``memory.stat`` of the file cache that is freed on demand.
    """

    limit: str
    used: str
    reclaimable: str


V1 = MemoryFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = MemoryFiles("memory.max", "memory.current", "inactive_file")


def cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Returns the number of whole cores that this process may use, at least 1.

    Args:
        proc: Mount point of procfs.
        cgroups: Mount point of the cgroups.
    """
    quotas = map(_quota, _groups("cpu", proc, cgroups))
    return max(1, int(min([_affinity(), *quotas])))


def memory_left(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Returns the bytes of memory that this process and its children may still allocate.

    Args:
        proc: Mount point of procfs.
        cgroups: Mount point of the cgroups.
    """
    left = psutil.virtual_memory().available
    for group in _groups("memory", proc, cgroups):
        left = min(left, _left(group, V1), _left(group, V2))
    return max(0, int(left))


def file_system(folder: Path) -> str:
    """Returns the type of a folder's file system, such as ``ext4``; empty if it is unknown."""
    there = folder.resolve()
    mounts = {Path(m.mountpoint): m.fstype for m in psutil.disk_partitions(all=True)}
    return next((mounts[parent] for parent in (there, *there.parents) if parent in mounts), "")


def is_shared(kind: str) -> bool:
    """Whether several machines may mount a file system of this type, such as ``nfs``."""
    return kind in SHARED or kind.startswith("fuse.")


def _affinity() -> float:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        return os.cpu_count() or 1


def _groups(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yields the cgroup folders of this process for a controller, and those of the parent groups.

    In a container, the process's own group is mounted at the top, whatever its name outside: a
    yielded folder need not exist.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":  # version 2: one group for all controllers
            roots = [cgroups]
        elif controller in controllers.split(","):
            roots = [cgroups / controllers, cgroups / controller]
        else:
            continue
        inside = PurePosixPath(name.lstrip("/"))
        for root in roots:
            yield from (root / each for each in (inside, *inside.parents))


def _quota(group: Path) -> float:
    """Returns the number of cores that a group may use at a time; infinity without a quota."""
    v1 = [*_numbers(group / "cpu.cfs_quota_us"), *_numbers(group / "cpu.cfs_period_us")]
    match _numbers(group / "cpu.max") or v1:
        case [quota, period] if quota > 0:  # version 1 has -1 for no quota
            return quota / period
        case _:
            return math.inf


def _left(group: Path, files: MemoryFiles) -> float:
    """Returns the bytes that a group may still allocate; infinity without a limit."""
    limit, used = sum(_numbers(group / files.limit)), sum(_numbers(group / files.used))
    return limit - used + _reclaimable(group, files) if limit else math.inf


def _reclaimable(group: Path, files: MemoryFiles) -> float:
    try:
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(float(line.split()[1]) for line in lines if line.split()[0] == files.reclaimable)


def _numbers(file: Path) -> list[float]:
    """Reads the numbers in a file, with ``max`` as infinity; empty if it cannot be read."""
    try:
        words = file.read_text(encoding="utf-8").split()
        return [math.inf if word == "max" else float(word) for word in words]
    except OSError:
        return []
