"""How many random examples a property is tried with: all, or fewer before each commit."""

from __future__ import annotations

import os

FEWER = (
    "MULTIPROTO_FEWER_EXAMPLES"  # set in the environment by `make check`; `make test`, and so CI, tries all
)
SHARE = 5


def examples(count: int) -> int:
    """`count`, or a fifth of it."""
    return count // SHARE if os.environ.get(FEWER) else count
