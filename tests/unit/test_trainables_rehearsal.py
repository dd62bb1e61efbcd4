"""What a configuration will take, and how much there is of it."""

import pytest

from trainables import rehearsal
from trainables.rehearsal import room_gib


def test_trials_share_the_memory_that_this_process_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of a container or a job, not of the machine that it runs on."""
    monkeypatch.setattr(rehearsal, "memory_left", lambda: 8 * 2**30)
    assert room_gib(0, 1) == 8
    assert room_gib(0, 4) == 2
