"""The byte order mark, which some editors put in front of a text in UTF-8: what reads it as text does not expect it."""

from __future__ import annotations

from codecs import BOM_UTF8

BOM_PROBLEM = "begins with a byte order mark (EF BB BF): save it without one"


def has_bom(text: bytes) -> bool:
    return text.startswith(BOM_UTF8)
