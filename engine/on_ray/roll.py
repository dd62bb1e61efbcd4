"""Which nodes a running study has, and how many trials they hold."""

import time
from collections import Counter
from collections.abc import Callable

from engine.on_ray import nodes

LOOK = 2.0
"""Seconds between two looks."""

NODE_IS_GONE_AFTER = 60.0
"""Seconds until Ray knows at the latest that a node is gone."""


class Roll:
    """The nodes, looked at now and then.

    Args:
        room: Says how many trials run at once.
        say: Tells the user who joins and who leaves.
        deaths: How often each trial's process died by itself.
        many: Whether there may be more than this machine.
    """

    def __init__(
        self,
        room: Callable[[], int],
        say: Callable[[str], None],
        deaths: Counter[int],
        many: bool,
    ) -> None:
        self.room = room
        self.say = say
        self.deaths = deaths
        self.many = many
        self.unreachable: list[tuple[float, int, set[str]]] = []
        self.places = room()
        self.looked = time.monotonic()
        self.known = _by_key() if many else {}
        if many:
            there = ", ".join(str(node) for node in self.known.values())
            say(f"nodes: {there}; room for {self.places} trials at once")

    def look(self) -> None:
        """Looks who is there, if it is time to."""
        if not self.many or time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        before, self.known = self.known, _by_key()
        joined, gone = self.known.keys() - before.keys(), before.keys() - self.known.keys()
        for key in joined:
            self.say(f"node {self.known[key]} joined")
        for key in gone:
            self.say(f"node {before[key].name} is gone")
        if joined or gone:
            self.places = self.room()
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
            self.deaths[number] += where <= self.known.keys()


def _by_key() -> dict[str, nodes.Node]:
    return {node.key: node for node in nodes.alive()}
