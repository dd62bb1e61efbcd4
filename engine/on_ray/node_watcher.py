"""Which nodes a running study has, and how many trials they hold."""

import time
from collections import Counter
from collections.abc import Callable

from engine.on_ray import nodes

POLL = 2.0
"""Seconds between two looks."""

NODE_IS_GONE_AFTER = 60.0
"""Seconds until Ray knows at the latest that a node is gone."""


class NodeWatcher:
    """The nodes, looked at now and then.

    Args:
        count_slots: Returns how many trials run at once.
        notify: Tells the user who joins and who leaves.
        worker_failures: How often each trial's process died by itself.
        many: Whether there may be more than this machine.
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
        """Looks who is there, if it is time to."""
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
        """A trial cannot be reached where it was; why, is known when its node is.

        Args:
            number: The trial.
            ip: Of its node; None: it has not been heard of, and any of the nodes may be its.
        """
        where = {key for key, node in self.known.items() if ip in (node.ip, None)}
        self.unreachable.append((time.monotonic(), number, where))

    def _charge(self) -> None:
        """Counts it as a death of the trial's own, if its node is there after all; one that was
        started again at the same address is another one."""
        while self.unreachable and time.monotonic() - self.unreachable[0][0] > NODE_IS_GONE_AFTER:
            _, number, where = self.unreachable.pop(0)
            self.worker_failures[number] += where <= self.known.keys()


def _by_key() -> dict[str, nodes.Node]:
    return {node.key: node for node in nodes.alive()}
