"""Machines that do not exist, on one Linux machine: namespaces with an SSH server each.

Needs root, and Debian's openssh-server, rsync, iproute2 and curl.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMESPACE = "orrery-lab"
LAPTOP = "10.77.0.1"
TOOLS = ("/usr/sbin/sshd", "rsync", "ip", "unshare", "curl", "ssh-keygen")

RAY = ("raylet", "gcs_server")

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
"""From sched.h."""


class Lab:
    """A network with the user's laptop in it.

    Args:
        folder: Everything of it; removed at the end.
        user: Of the machines.
        environment: Lines of the machines' ``.bashrc``.
    """

    def __init__(self, folder: Path, user: str, environment: Sequence[str] = ()) -> None:
        self.folder = folder
        self.user = user
        self.begun = time.monotonic()
        self.machines: dict[str, subprocess.Popen[bytes]] = {}
        self.conf = folder / "conf"
        self.logs = folder / "logs"
        self.shared = folder / "shared"
        self.home = folder / "laptop"
        for each in (self.conf, self.logs, self.shared, self.home / ".ssh"):
            each.mkdir(parents=True)
        self.shared.chmod(0o777)
        self.key = self.conf / "id"
        for name in ("id", "hostkey"):
            _run("ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(self.conf / name))
        shutil.copy(self.conf / "id.pub", self.conf / "authorized_keys")
        (self.conf / "sshd_config").write_text(
            f"Port 22\nHostKey {self.conf}/hostkey\nPermitRootLogin prohibit-password\n"
            f"PasswordAuthentication no\nAuthorizedKeysFile {self.conf}/authorized_keys\n"
            "UsePAM no\nStrictModes no\nUseDNS no\nMaxSessions 50\nMaxStartups 50:30:100\n"
        )
        image = ["export PATH=$HOME/.local/bin:$PATH", f"export IMAGE_VENV={sys.prefix}"]
        quiet = ["export RAY_USAGE_STATS_ENABLED=0"]
        (self.conf / "bashrc").write_text("\n".join([*image, *quiet, *environment, ""]))
        _run("ip", "netns", "add", NAMESPACE)
        _ip("link set lo up", "link add br0 type bridge", f"addr add {LAPTOP}/24 dev br0")
        _ip("link set br0 up", "route add default dev br0")
        # This process becomes the laptop: what it starts and asks is on that network.
        if LIBC.setns(os.open(f"/run/netns/{NAMESPACE}", os.O_RDONLY), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace")

    def boot(self, name: str, address: str, others: Sequence[str] = (), disk: str = "") -> None:
        """Switches a machine on.

        Args:
            name: Its host name, and of its disk unless that has another.
            address: Of its network card.
            others: Further addresses, such as a public one.
            disk: Name of its disk, which is new, or as the machine left it.
        """
        space = _space(name)
        _run("ip", "netns", "add", space)
        _ip(f"link add {space[:14]} type veth peer name eth0 netns {space}")
        _ip(f"link set {space[:14]} master br0 up")
        _ip("link set lo up", f"addr add {address}/12 dev eth0", namespace=space)
        _ip(*(f"addr add {other}/32 dev eth0" for other in others), namespace=space)
        _ip("link set eth0 up", f"route add default dev eth0 src {address}", namespace=space)
        command = [
            *("ip", "netns", "exec", space, "unshare", "--mount", "--pid", "--uts", "--ipc"),
            *("--fork", "--kill-child", "--mount-proc", str(HERE / "host.sh")),
            *(str(self.folder / "disks" / (disk or name)), name, address, self.user),
            *(sys.prefix, sys.base_prefix, str(self.conf), str(self.shared)),
        ]
        with (self.logs / f"{name}.log").open("ab") as log:
            self.machines[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def power_off(self, name: str) -> None:
        """Kills everything on a machine at once; its disk stays."""
        machine = self.machines.pop(name)
        machine.kill()
        machine.wait()
        _run("ip", "netns", "del", _space(name))

    def runs_ray(self, name: str) -> bool:
        """Whether a machine has processes of Ray's."""
        inside = subprocess.run(["ip", "netns", "pids", _space(name)], capture_output=True)
        names = [Path(f"/proc/{pid}/comm") for pid in inside.stdout.decode().split()]
        return any(n.is_file() and n.read_text().strip() in RAY for n in names)

    def laptop(self, command: str, **environment: str) -> subprocess.Popen[str]:
        """Begins a command on the laptop, in the project's folder; one pipe for all it says."""
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=ROOT,
            env={
                **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")},
                "HOME": str(self.home),
                "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
                "RAY_TMPDIR": str(self.folder / "r"),
                "RAY_USAGE_STATS_ENABLED": "0",
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def does(self, command: str, log: str, **environment: str) -> str:
        """Runs a command on the laptop to its end; returns what it said.

        Raises:
            RuntimeError: If it fails; with its last lines.
        """
        process = self.laptop(command, **environment)
        said, _ = process.communicate(timeout=600)
        (self.logs / log).write_text(said)
        if process.returncode != 0:
            raise RuntimeError(f"{command}: code {process.returncode}\n{said[-3000:]}")
        return said

    def notify(self, text: str) -> None:
        """Prints what happens, and when."""
        print(f"{time.monotonic() - self.begun:5.0f} s  {text}", flush=True)

    def close(self) -> None:
        """Switches everything off."""
        for name in list(self.machines):
            self.power_off(name)
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)


@contextmanager
def lab(user: str, environment: Sequence[str] = ()) -> Iterator[Lab]:
    """A lab while it is needed.

    Raises:
        SystemExit: Where it cannot be had, with the reason.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        sys.exit("this test makes network namespaces: run it as root")
    if missing:
        sys.exit(
            f"missing: {', '.join(missing)}; apt-get install openssh-server rsync iproute2 curl"
        )
    # Short, since Ray's sockets have to lie below it.
    with tempfile.TemporaryDirectory(prefix="lab", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        made = Lab(Path(folder), user, environment)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            yield made
        except BaseException:
            kept = Path(tempfile.mkdtemp(prefix="lab-logs-"))
            shutil.copytree(made.logs, kept, dirs_exist_ok=True)
            for disk in made.folder.glob("disks/*"):
                for ray in disk.glob("tmp/ray/session_2*/logs"):
                    shutil.copytree(ray, kept / disk.name / ray.parent.name, dirs_exist_ok=True)
            print(f"what was said is kept in {kept}", flush=True)
            raise
        finally:
            made.close()


def until(what: str, happened, seconds: float = 120.0) -> None:
    """Waits until something happened.

    Raises:
        TimeoutError: If it does not.
    """
    begun = time.monotonic()
    while not happened():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"after {seconds:g} s not: {what}")
        time.sleep(0.5)


def _space(name: str) -> str:
    """Of a machine's network; interfaces have at most 15 characters."""
    return f"o{name[-12:]}"


def _ip(*commands: str, namespace: str = NAMESPACE) -> None:
    for command in commands:
        _run("ip", "-n", namespace, *command.split())


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
