"""Removes users, passwords and tokens from addresses before they are printed or recorded."""

import re

USERINFO = re.compile(r"(?<=://)(?:[^\s/?#]*|[^\s/?#:]*:\S*)@")
"""Matches the user and password of an address, up to the last ``@`` before the path. After a colon
the match may run beyond a ``/``, ``?`` or ``#``, since passwords contain them, though an address
should not."""

SECRET = re.compile(
    r"(?<=[?&;])([\w.-]*(?:pass|pwd|token|secret|key|signature|credential|odbc_connect)[\w.-]*)"
    r"=[^\s&;#'\"]+",
    re.IGNORECASE,
)
"""Matches a secret in the query of an address, as in those of databases and signed downloads."""


def shown(text: str) -> str:
    """Returns an address, or a text that contains addresses, with all credentials masked.

    >>> shown("http://me:s3cret@example.org:5000")
    'http://***@example.org:5000'
    >>> shown("cannot open postgresql://db/x?user=me&password=s3cret")
    'cannot open postgresql://db/x?user=me&password=***'
    """
    return SECRET.sub(r"\1=***", USERINFO.sub("***@", text))
