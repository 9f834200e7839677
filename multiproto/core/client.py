"""Whom a request came from, as far as its wire can tell: shown to users and operators, trusted by nobody."""

from __future__ import annotations

from attrs import field, frozen

MAX_AGENT = 200  # characters of a User-Agent; a browser's has some 120


def plain(text: str) -> str:
    """`text` in one line of at most `MAX_AGENT` characters that can all be seen.

    A client wrote it: whoever shows it in a terminal, a log or a page is not to
    be told colours, line ends or the direction to write in.
    """
    shown = text if text.isprintable() else "".join(filter(str.isprintable, text))
    return shown[:MAX_AGENT].strip()


@frozen
class Client:
    protocol: str = ""  # "rest", "graphql", "websocket", "tcp"
    address: str = field(default="", converter=plain)
    agent: str = field(default="", converter=plain)  # what it calls itself

    def columns(self) -> dict[str, object]:
        """As a session keeps it; what is not known is none."""
        return {"address": self.address or None, "client": self.agent or None}
