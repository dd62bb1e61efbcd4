"""Watches which nodes a running study has, and how many trials fit on them."""

import time
from collections import Counter
from collections.abc import Callable

from engine.on_ray import nodes

POLL = 2.0
"""Seconds between two polls of the nodes."""

NODE_IS_GONE_AFTER = 60.0
"""Maximum seconds until Ray detects that a node is gone."""


class NodeWatcher:
    """Polls the nodes of the cluster, and reports the ones that join or leave.

    Args:
        count_slots: Returns how many trials can run at the same time.
        notify: Prints a message for the user.
        worker_failures: Trial number -> how often its process crashed; it is updated here.
        many: True if there may be nodes besides this machine.

    Attributes:
        slots: Number of trials that can run at the same time.
    """

    def __init__(
        self,
        count_slots: Callable[[], int],
        notify: Callable[[str], None],
        worker_failures: Counter[int],
        many: bool,
    ) -> None:
        self.count_slots = count_slots
        self.notify = notify
        self.worker_failures = worker_failures
        self.many = many
        self.unreachable: list[tuple[float, int, set[str]]] = []
        self.slots = count_slots()
        self.polled = time.monotonic()
        self.known = _by_key() if many else {}
        if many:
            there = ", ".join(str(node) for node in self.known.values())
            notify(f"nodes: {there}; room for {self.slots} trials at once")

    def poll(self) -> None:
        """Updates the nodes and the slots, at most once every `POLL` seconds."""
        if not self.many or time.monotonic() - self.polled < POLL:
            return
        self.polled = time.monotonic()
        before, self.known = self.known, _by_key()
        joined, gone = self.known.keys() - before.keys(), before.keys() - self.known.keys()
        for key in joined:
            self.notify(f"node {self.known[key]} joined")
        for key in gone:
            self.notify(f"node {before[key].name} is gone")
        if joined or gone:
            self.slots = self.count_slots()
        self._charge()

    def lost(self, number: int, ip: str | None) -> None:
        """Records that a trial's process cannot be reached.

        After `NODE_IS_GONE_AFTER` seconds it counts as a crash if the node is still alive.

        Args:
            number: Number of the trial.
            ip: IP address of its node; None if it is unknown, so that it may be any node.
        """
        where = {key for key, node in self.known.items() if ip in (node.ip, None)}
        self.unreachable.append((time.monotonic(), number, where))

    def _charge(self) -> None:
        """Counts each unreachable trial as crashed if its node turned out to be alive.

        A node that was restarted at the same address counts as a new node.
        """
        while self.unreachable and time.monotonic() - self.unreachable[0][0] > NODE_IS_GONE_AFTER:
            _, number, where = self.unreachable.pop(0)
            self.worker_failures[number] += where <= self.known.keys()


def _by_key() -> dict[str, nodes.Node]:
    return {node.key: node for node in nodes.alive()}
