"""Who may read and write which topic: the only place that knows.

Contract, section 3.  Reading is decided per delivery, where the topic is known,
so that a wide pattern never leaks; `check_subscribe` only refuses early what
could never match anything readable.
"""

from __future__ import annotations

from .errors import Forbidden
from .ports import Identity

SERVER_WRITTEN = ("users", "messages")  # first words


def may_read(who: Identity, topic: str) -> bool:
    """Direct messages are for their owner, `_` topics for the server, everything else is public."""
    if topic.startswith("_"):
        return False
    if not topic.startswith("messages.user"):
        return True
    words = topic.split(".")
    return words[1] != "user" or words[2:3] == [who.user_id]


def check_subscribe(who: Identity, pattern: str) -> None:
    """Raise `Forbidden` for a pattern all of whose topics are someone else's."""
    words = pattern.split(".")
    if words[0].startswith("_"):
        raise Forbidden("These topics are the server's own")
    if words[:2] == ["messages", "user"] and words[2:3] not in ([who.user_id], ["*"], ["**"]):
        raise Forbidden("These messages are someone else's")


def check_publish(who: Identity, topic: str) -> None:
    """Raise `Forbidden` for a topic that only the server's own events are told on."""
    first = topic.split(".")[0]
    if first.startswith("_") or first in SERVER_WRITTEN:
        raise Forbidden("This topic is written by the server only")
