"""A small HTTP client over a transport in memory: bytes in, answers out, nothing hidden."""

from __future__ import annotations

import gzip
from typing import Any, Mapping

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from multiproto.base import strict_json
from multiproto.http.channel import Channel
from multiproto.http.site import Site
from tests import canary


@frozen
class Response:
    status: int
    headers: dict[str, str]  # names in lower case; a name that came twice has both, with a comma
    body: bytes

    @property
    def json(self) -> Any:
        return strict_json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def code(self) -> int:
        """Of the contract."""
        return int(self.json["error"]["code"])


class Transport(StringTransport):
    """As a socket's, it does not mind to be rid of a producer twice."""

    def unregisterProducer(self) -> None:
        self.producer = None


class Line:
    """One connection to `site`."""

    def __init__(self, site: Site, host: str = "10.0.0.1") -> None:
        self.transport = Transport(
            hostAddress=IPv4Address("TCP", "10.0.0.9", 3000), peerAddress=IPv4Address("TCP", host, 40000)
        )
        self.transport.abortConnection = self._abort  # type: ignore[method-assign]
        self.aborted = False
        channel = site.buildProtocol(None)
        assert channel is not None
        self.channel: Channel = channel
        self.transport.protocol = channel  # type: ignore[attr-defined]
        self.channel.makeConnection(self.transport)

    def _abort(self) -> None:
        self.aborted = True
        self.hang_up()

    @property
    def closed(self) -> bool:
        """Whether the server closed its side."""
        return self.transport.disconnecting or self.aborted

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def say_no_more(self) -> None:
        """Half-close: hear what is still said."""
        self.channel.readConnectionLost()

    def hang_up(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def heard(self) -> bytes:
        """All that came since it was last asked."""
        data = self.transport.value()
        self.transport.clear()
        return bytes(data)

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a request; `body` goes as JSON unless it is bytes."""
        fields = {"Host": "example.org", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = strict_json.dumps(body)
            fields.setdefault("Content-Type", "application/json")
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))

    def answer(self, head: bool = False) -> Response:
        """The one answer that came."""
        [response] = responses(self.heard(), head)
        return response


def responses(data: bytes, head: bool = False) -> list[Response]:
    """All answers in `data`, which must hold nothing else; with `head`, answers to HEAD."""
    found = []
    while data:
        top, _, data = data.partition(b"\r\n\r\n")
        first, *lines = top.decode("ascii").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers[name.lower()] = ", ".join(filter(None, (headers.get(name.lower()), value)))
        status = int(first.split(" ")[1])
        body = b""
        if head or status in (100, 204):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body, data = _unchunk(data)
        else:
            size = int(headers["content-length"])
            body, data = data[:size], data[size:]
            assert len(body) == size, "a body is shorter than it says"
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if "json" in headers.get("content-type", ""):
            canary.answered(first, body.decode(errors="replace"))
        found.append(Response(status, headers, body))
    return found


def _unchunk(data: bytes) -> tuple[bytes, bytes]:
    """(what came so far, what follows its end)."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            break
    return body, data
