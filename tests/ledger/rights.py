"""Who may read what, and which topics a pattern covers: said once more.

This repeats `multiproto.core` in other words on purpose.  A checker that asked
the server's own code whether the server was right would learn nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=10_000)
def covers(pattern: str, topic: str) -> bool:
    """`*` stands for one word, `**` for any number of words (docs/common.md#topics-and-patterns)."""
    return _regex(pattern).fullmatch("." + topic) is not None


@lru_cache(maxsize=1_000)
def _regex(pattern: str) -> re.Pattern[str]:
    words = {"*": r"\.[^.]+", "**": r"(?:\.[^.]+)*"}
    return re.compile("".join(words.get(word, re.escape("." + word)) for word in pattern.split(".")))


def may_read(user: str, topic: str) -> bool:
    """Direct messages are their owner's, topics that begin with `_` the server's, all else is everybody's."""
    first, second, third = (topic.split(".") + ["", ""])[:3]
    if first.startswith("_"):
        return False
    return (first, second) != ("messages", "user") or third == user


def heard_on(user: str, pattern: str, topics: tuple[str, ...]) -> str | None:
    """The topic that names the delivery: the first that is covered and readable; `None`: no delivery."""
    return next((each for each in topics if covers(pattern, each) and may_read(user, each)), None)
