"""What an object of one's own lacks of a protocol."""

from collections.abc import Sequence
from inspect import getattr_static


def missing(found: object, names: Sequence[str], undefined: object) -> list[str]:
    """Names of the members that an object lacks; none of them is computed.

    Args:
        found: The object.
        names: Members that it should have.
        undefined: The protocol, where its members say nothing: one that is only inherited from it
            counts as missing.
    """
    return [name for name in names if not _has(found, name, undefined)]


def _has(found: object, name: str, undefined: object) -> bool:
    member = getattr_static(found, name, None)
    if member is None:
        return hasattr(found, name)
    return member is not getattr_static(undefined, name, object())
