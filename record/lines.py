"""The line format of a log: one group of events per line, with a checksum.

    1a2b3c4d 17 [{"event": "Ended", ...}, {"event": "Proposed", ...}]

A line has the CRC-32 of the rest of the line, the number of the group, and its events. Line 0 is
the header, which names the version of the format. Reading either returns exactly what was written,
or raises.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from datasets.errors import InputError
from record import events
from record.events import Event

FORMAT = "orrery.log"
VERSION = 3
OLDEST = 2
"""Versions that are written, and the oldest that is read; version 2 has no finalist dropped."""

COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Damaged(InputError):
    """A line of a log differs from what was written."""


def header(**facts: Any) -> bytes:
    """Returns the first line of a log, with these facts besides format and version."""
    return _line(0, {"format": FORMAT, "version": VERSION, **facts})


def line(number: int, group: Sequence[Event]) -> bytes:
    """Encodes a group of events as a line.

    Args:
        number: Number of the group.
        group: The events.

    Raises:
        ValueError: If an event cannot be written exactly.
    """
    return _line(number, [events.to_json(event) for event in group])


def _line(number: int, value: Any) -> bytes:
    text = f"{number} {COMPACT.encode(value)}".encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def is_whole(text: bytes) -> bool:
    """Returns True if the checksum of a line is right; `text` excludes the newline."""
    try:
        return text[8:9] == b" " and int(text[:8], 16) == zlib.crc32(text[9:])
    except ValueError:
        return False


def facts(text: bytes, where: str) -> dict[str, Any]:
    """Decodes the header of a log.

    Args:
        text: The first line, without the newline.
        where: Name of the place, for messages.

    Raises:
        Damaged: If the line is damaged or not a header.
        InputError: If it is of another version of the format.
    """
    found = _value(text, 0, where)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise Damaged(f"{where} is no log of a study")
    if not OLDEST <= found["version"] <= VERSION:
        raise InputError(
            f"{where} has version {found['version']} of the log's format, and this code reads "
            f"versions {OLDEST} to {VERSION}: check out the version of the code that wrote it"
        )
    return found


def group(text: bytes, number: int, where: str) -> Iterator[Event]:
    """Decodes the events of a line.

    Args:
        text: The line, without the newline.
        number: The expected number of the group.
        where: Name of the place, for messages.

    Raises:
        Damaged: If the line is damaged, or has another number.
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
