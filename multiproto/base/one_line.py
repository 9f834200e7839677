"""Texts of other programs on one line, as the operator's log and terminal want them."""

from __future__ import annotations


def one_line(text: object) -> str:
    """`text`, or the message of an exception, with each run of blanks and line ends as one space."""
    return " ".join(str(text).split())
