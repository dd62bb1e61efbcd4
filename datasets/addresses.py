"""Addresses as they are shown and recorded: without user, password or token."""

import re

USERINFO = re.compile(r"(?<=://)(?:[^\s/?#]*|[^\s/?#:]*:\S*)@")
"""Matches up to the last ``@`` before the path; where a colon comes first, also beyond a ``/``,
``?`` or ``#``, which a password may hold although an address should not."""

SECRET = re.compile(
    r"(?<=[?&;])([\w.-]*(?:pass|pwd|token|secret|key|signature|credential|odbc_connect)[\w.-]*)"
    r"=[^\s&;#'\"]+",
    re.IGNORECASE,
)
"""Matches a secret in the query of an address, as databases and signed downloads have it."""


def shown(text: str) -> str:
    """An address, or a text with addresses in it, without what only its user may know.

    >>> shown("http://me:s3cret@example.org:5000")
    'http://***@example.org:5000'
    >>> shown("cannot open postgresql://db/x?user=me&password=s3cret")
    'cannot open postgresql://db/x?user=me&password=***'
    """
    return SECRET.sub(r"\1=***", USERINFO.sub("***@", text))
