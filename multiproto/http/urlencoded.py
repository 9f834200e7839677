"""Parses `application/x-www-form-urlencoded`: forms and query strings (URL standard, 5.1).

`urllib` and `twisted.web` split at each `%`, which takes a second for a million of them.
"""

from __future__ import annotations

import re
from binascii import a2b_qp

from ..core.errors import InvalidInput

MAX_FIELDS = 100  # in a query or a form
MAX_BARE_PERCENTS = 1000  # in a name or value; each costs as much as a hundred other bytes

_CONTROL = re.compile(rb"[\0-\x1f\x7f]")
_BARE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse_urlencoded(text: bytes, where: str) -> list[tuple[bytes, bytes]]:
    """Names and values in their order.  `where` names the text.

    Raises `InvalidInput` for too many, and for a control character that is not escaped: nobody means the line
    end behind a form to be the end of a password.
    """
    control = _CONTROL.search(text)
    if control:
        raise InvalidInput(
            f"The {where} has a {_name_control(control[0])} at byte {control.start()}: write it as "
            f"%{control[0][0]:02X}, or send nothing behind the last field"
        )
    if text.count(b"&") >= MAX_FIELDS:
        raise InvalidInput(f"The {where} has at most {MAX_FIELDS} fields")
    pairs = [part.partition(b"=") for part in text.split(b"&") if part]
    return [(unescape(name), unescape(value)) for name, _, value in pairs]


def _name_control(character: bytes) -> str:
    return "line end" if character in b"\r\n" else "control character"


def unescape(text: bytes) -> bytes:
    """Each `+` becomes a space and each `%XX` its byte; a `%` before anything else stands for itself.

    Raises `InvalidInput` beyond `MAX_BARE_PERCENTS`.
    """
    text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    whole, bare = _BARE_PERCENT.subn(b"%25", text, MAX_BARE_PERCENTS + 1)
    if bare > MAX_BARE_PERCENTS:
        raise InvalidInput("A % must be written %25")
    # Quoted-printable is the same with `=` for `%`, and its decoder is written in C.
    return a2b_qp(whole.replace(b"=", b"%3D").replace(b"%", b"="))
