"""Whom a request came from, as far as its wire can tell: shown to users and operators, trusted by nobody."""

from __future__ import annotations

from attrs import field, frozen

MAX_USER_AGENT = 200  # characters of a User-Agent; a browser's has some 120


def sanitize(text: str) -> str:
    """`text` in one line of at most `MAX_USER_AGENT` characters that can all be seen.

    A client wrote it: whoever shows it in a terminal, a log or a page is not to
    be told colours, line ends or the direction to write in.
    """
    shown = text if text.isprintable() else "".join(filter(str.isprintable, text))
    return shown[:MAX_USER_AGENT].strip()


@frozen
class ClientInfo:
    protocol: str = ""  # "rest", "graphql", "websocket", "tcp"
    address: str = field(default="", converter=sanitize)
    user_agent: str = field(default="", converter=sanitize)  # what it calls itself

    def columns(self) -> dict[str, object]:
        """As a session keeps it; what is not known is none."""
        return {"address": self.address or None, "client": self.user_agent or None}
