"""Groups of events as lines of text, with a checksum each.

    1a2b3c4d 17 [{"event": "Ended", ...}, {"event": "Proposed", ...}]

A line is one group: CRC-32 of all that follows it, the group's number, its events. Line 0 is the
header, which names the version of the format. What is read back is equal to what was written, or
is refused.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from datasets.errors import InputError
from record import events
from record.events import Event

FORMAT = "orrery.log"
VERSION = 2

COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Damaged(InputError):
    """A line of a log is not what was written."""


def header(**facts: Any) -> bytes:
    """The first line of a file."""
    return _line(0, {"format": FORMAT, "version": VERSION, **facts})


def line(number: int, group: Sequence[Event]) -> bytes:
    """A group of events as a line.

    Raises:
        ValueError: If an event cannot be written exactly.
    """
    return _line(number, [events.to_json(event) for event in group])


def _line(number: int, value: Any) -> bytes:
    text = f"{number} {COMPACT.encode(value)}".encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def is_whole(text: bytes) -> bool:
    """Whether a line is as it was written, by its checksum; `text` is without the line's end."""
    try:
        return text[8:9] == b" " and int(text[:8], 16) == zlib.crc32(text[9:])
    except ValueError:
        return False


def facts(text: bytes, where: str) -> dict[str, Any]:
    """The facts of a header.

    Raises:
        InputError: If it is none, or another version's.
    """
    found = _value(text, 0, where)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise Damaged(f"{where} is no log of a study")
    if found["version"] != VERSION:
        raise InputError(
            f"{where} has version {found['version']} of the log's format, and this code reads "
            f"version {VERSION}: check out the version of the code that wrote it"
        )
    return found


def group(text: bytes, number: int, where: str) -> Iterator[Event]:
    """The events of a line.

    Args:
        text: The line, without its end.
        number: Which it has to be.
        where: The place, for messages.

    Raises:
        Damaged: If it is not whole, or another one.
    """
    try:
        yield from map(events.from_json, _value(text, number, where))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise Damaged(f"{where} is damaged: {error}") from error


def _value(text: bytes, number: int, where: str) -> Any:
    if not is_whole(text):
        raise Damaged(f"{where} is damaged: its checksum is wrong; bring back a copy of it")
    found, _, content = text[9:].partition(b" ")
    if (there := int(found)) != number:
        raise Damaged(f"{where} has the number {there}, expected {number}: some are lost or added")
    return json.loads(content.decode())
