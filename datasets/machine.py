"""What this process may use of its machine: cores and memory; and what its folders lie on.

A batch system, a container or ``taskset`` gives a job a share. The share of the cores is in the
process's affinity and in the quota of its control group (cgroup), that of the memory in the limit
of this group; the groups above it count too, as container runtimes and batch systems nest them.
Both versions of cgroups are read, in the files where systemd and Docker mount them.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")

SHARED = ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "beegfs", "gpfs", "glusterfs", "9p")
"""File systems that several machines mount; also all of ``fuse.*``, such as sshfs."""


@dataclass(frozen=True)
class MemoryFiles:
    """Where a version of cgroups tells of a group's memory, in bytes.

    Attributes:
        limit: How much there may be.
        used: How much there is, file cache included.
        reclaimable: Line of ``memory.stat``: file cache that makes room when it is needed.
    """

    limit: str
    used: str
    reclaimable: str


V1 = MemoryFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = MemoryFiles("memory.max", "memory.current", "inactive_file")


def cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Whole cores that this process may use, at least 1.

    Args:
        proc: Where the kernel tells of processes.
        cgroups: Where it tells of their groups.
    """
    quotas = map(_quota, _groups("cpu", proc, cgroups))
    return max(1, int(min([_affinity(), *quotas])))


def memory_left(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Bytes of memory that this process and its children may still take.

    Args:
        proc: Where the kernel tells of processes.
        cgroups: Where it tells of their groups.
    """
    left = psutil.virtual_memory().available
    for group in _groups("memory", proc, cgroups):
        left = min(left, _left(group, V1), _left(group, V2))
    return max(0, int(left))


def file_system(folder: Path) -> str:
    """Kind of the file system that a folder lies on, such as ``ext4``; empty if it is unknown."""
    there = folder.resolve()
    mounts = {Path(m.mountpoint): m.fstype for m in psutil.disk_partitions(all=True)}
    return next((mounts[parent] for parent in (there, *there.parents) if parent in mounts), "")


def is_shared(kind: str) -> bool:
    """Whether several machines may mount a file system of this kind."""
    return kind in SHARED or kind.startswith("fuse.")


def _affinity() -> float:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        return os.cpu_count() or 1


def _groups(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """Folders of this process's group, as far as a controller counts in it, and of those above.

    A container sees its own group at the top, under whatever name it has outside: a folder need
    not be there.
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
    """Cores that a group may use at a time; infinity where it has no quota."""
    v1 = [*_numbers(group / "cpu.cfs_quota_us"), *_numbers(group / "cpu.cfs_period_us")]
    match _numbers(group / "cpu.max") or v1:
        case [quota, period] if quota > 0:  # version 1 says -1 where there is none
            return quota / period
        case _:
            return math.inf


def _left(group: Path, files: MemoryFiles) -> float:
    """Bytes that a group may still take; infinity where it has no limit."""
    limit, used = sum(_numbers(group / files.limit)), sum(_numbers(group / files.used))
    return limit - used + _reclaimable(group, files) if limit else math.inf


def _reclaimable(group: Path, files: MemoryFiles) -> float:
    try:
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(float(line.split()[1]) for line in lines if line.split()[0] == files.reclaimable)


def _numbers(file: Path) -> list[float]:
    """What a file says, ``max`` for infinity; empty if it is not there, or not for this user."""
    try:
        words = file.read_text(encoding="utf-8").split()
        return [math.inf if word == "max" else float(word) for word in words]
    except OSError:
        return []
