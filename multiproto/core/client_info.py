"""Where a request came from, as far as its wire can tell: shown to users and operators, never trusted."""

from __future__ import annotations

from attrs import field, frozen

from ..base.client_network import ClientNetwork, client_network

MAX_USER_AGENT = 200  # characters of a User-Agent; a browser's has some 120


def sanitize(text: str) -> str:
    """`text` as one line of at most `MAX_USER_AGENT` printable characters.

    A client wrote it: in a terminal, a log or a page it must not set colours, end
    the line or change the direction of the text.
    """
    printable = text if text.isprintable() else "".join(filter(str.isprintable, text))
    return printable[:MAX_USER_AGENT].strip()


@frozen
class Requester:
    """Whose share of a bounded queue is used: an address's, and a user's where one has authenticated."""

    network: ClientNetwork = ClientNetwork("")
    user_id: str = ""  # nobody has authenticated


@frozen
class ClientInfo:
    protocol: str = ""  # "rest", "graphql", "websocket", "tcp"
    address: str = field(default="", converter=sanitize)
    user_agent: str = field(default="", converter=sanitize)  # as the client calls itself

    def requester(self, user_id: str = "") -> Requester:
        return Requester(client_network(self.address), user_id)

    def columns(self) -> dict[str, object]:
        """The columns of a session's row; unknown values are `None`."""
        return {"address": self.address or None, "client": self.user_agent or None}
