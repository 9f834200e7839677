"""The way out of an HTTP connection: what `twisted.web.http.Request` asks of its channel."""

from __future__ import annotations

from typing import Any, Sequence

from attrs import define, field
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.web.http_headers import Headers


@define(eq=False, repr=False)
class ChannelOutput:
    """Writes on the transport; when and what is for the channel and its request to say."""

    _transport: Any = field(default=None, init=False)
    _write_paused: bool = field(default=False, init=False)  # the transport has more to send than it likes
    _producer: IPushProducer | None = field(default=None, init=False)  # of the response being streamed

    # twisted.web.http.Request logs through its channel's factory; our `Request` does so itself.
    factory: None = field(default=None, init=False)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        lines = [b"%s %s %s" % (version, code, reason)]
        lines += [
            b"%s: %s" % (name, value) for name, values in headers.getAllRawHeaders() for value in values
        ]
        self.write(b"\r\n".join(lines) + b"\r\n\r\n")

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def writeSequence(self, data: Sequence[bytes]) -> None:
        self.write(b"".join(data))

    def abort(self) -> None:
        """Lose the connection, and with it what was not sent yet."""
        if self._transport is not None:
            self._transport.abortConnection()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        self._producer = producer
        if self._write_paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def getPeer(self) -> IAddress:
        return self._transport.getPeer()  # type: ignore[no-any-return]

    def getHost(self) -> IAddress:
        return self._transport.getHost()  # type: ignore[no-any-return]

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` follows."""
