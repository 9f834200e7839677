"""A client of the protocol of lines."""

from __future__ import annotations

from attrs import define
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from ...live.clients import Inbox


class _Lines(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def lineReceived(self, line: bytes) -> None:
        self._inbox.put(line.decode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._inbox.close(reason.getErrorMessage())


@define(eq=False)
class ToyClient:
    inbox: Inbox
    _lines: _Lines
    _sent: int = 0

    @classmethod
    async def connect(cls, port: int) -> ToyClient:
        inbox = Inbox()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        return cls(inbox, await connectProtocol(endpoint, _Lines(inbox)))

    async def ask(self, line: str) -> str:
        """The answer without its number; what is delivered before it is dropped."""
        self._lines.sendLine(line.encode())
        self._sent += 1
        while True:
            kind, _, rest = (await self.inbox.next()).partition(" ")
            number, _, rest = rest.partition(" ")
            if kind in ("OK", "ERROR") and number == str(self._sent):
                return f"{kind} {rest}".rstrip()

    async def close(self) -> None:
        self._lines.transport.loseConnection()  # type: ignore[union-attr]
        await self.inbox.closed
