"""One HTTP connection: which bytes are the next request, and when the line closes.

It stands in for `twisted.web.http.HTTPChannel`, which takes bodies of any size
and heads that RFC 9112 refuses, and which gives no deadlines.  One request at a
time is read and answered; what a client sends ahead waits in a bounded buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from attrs import define, field
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from ..core.hosts import network
from .codec import Malformed
from .inlet import AHEAD, Inlet
from .limits import Deadline, Limits
from .reader import Reader
from .request import Request

if TYPE_CHECKING:
    from .quick import Ordinary, Quick
    from .site import Site


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
@define(eq=False, repr=False)
class Channel(Inlet):
    """camelCase methods are called by the transport or by `twisted.web.http.Request`."""

    site: Site
    _limits: Limits
    persistent: bool = True  # whether another request may follow the one being answered
    secure: bool = False
    address: str = ""  # of whoever is at the other end
    network: str = ""
    direct: bool = False  # no proxy carries it, and the address may come in
    request: Request | Quick | None = None  # being received or answered
    ordinary: Ordinary | None = None  # what the last one asked for, if that was ordinary
    _reader: Reader = field(init=False)
    _answering: bool = False
    _advancing: bool = False
    _hung_up: bool = False
    _deadline: Deadline = field(init=False)

    # The connection's life.

    def __attrs_post_init__(self) -> None:
        self._reader, self._deadline = Reader(self._limits.body), Deadline(self.site.clock)
        self.read_no_faster_than(self._limits.bytes, self.site.clock)

    @property
    def transport(self) -> Any:
        return self._transport

    @transport.setter
    def transport(self, transport: Any) -> None:
        """A resource takes the connection over by setting this to `None`, as Autobahn's does."""
        request = self.request
        if transport is None and isinstance(request, Request):
            self._transport.unregisterProducer()
            self._forget()
            request.taken_over()
        self._transport = transport

    def makeConnection(self, transport: Any) -> None:
        self._transport = transport
        self.secure = ISSLTransport.providedBy(transport)
        self.address = str(getattr(transport.getPeer(), "host", ""))
        self.network = network(self.address)
        self.direct = self.site.rules.admits(self.address) and not self.site.rules.trusts(self.address)
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        refusal = self.site.refusal(self)
        if refusal is None:
            self._deadline.set(self._limits.idle, self._part)
        else:
            self._refuse(refusal)

    def connectionMade(self) -> None:
        """`makeConnection` does it all."""

    def connectionLost(self, reason: Failure) -> None:
        request = self.request
        self._forget()
        if request is not None:
            request.connectionLost(reason)

    def readConnectionLost(self) -> None:
        """The client says no more: what it has asked is answered, then the line closes.

        An event stream ends: its client has most likely left.
        """
        self._heard_all = True
        if self._hung_up:
            if not self._clogged:
                self._transport.loseConnection()
        elif self.site.streams(self):
            self.abort()
        else:
            self._advance()

    def writeConnectionLost(self) -> None:
        """The client has been told that this was all."""

    def retire(self) -> None:
        """Take no further request; close as soon as the one that is being answered is done."""
        self.persistent = False
        if self._hung_up:
            if self._clogged:
                self._deadline.set(self._limits.linger, self.abort)
        elif self._answering:
            pass
        elif self._reader.empty:
            self._part()
        else:
            self._refuse(Malformed(503, "server is shutting down"))

    def cut(self) -> None:
        """Close now, whatever is being said; who is hearing the last of it has a moment more."""
        if self._hung_up:
            self._deadline.set(self._limits.linger, self.abort)
        else:
            self.abort()

    # Requests in.

    def dataReceived(self, data: bytes) -> None:
        self._intake.took(len(data))
        if self._hung_up:
            return
        buffer = self._reader.buffer
        buffer += data
        if self._answering or self._clogged:
            if len(buffer) > self._limits.ahead:
                self._intake.hold(AHEAD)
            return
        self._advance()

    def _advance(self) -> None:
        """Read and begin to answer as much as is there."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not (self._answering or self._clogged or self._hung_up):
                if not (self._read_head() if self._reader.head is None else self._read_body()):
                    if self._heard_all:
                        self._part()
                    break
        except Malformed as fault:
            self._refuse(fault)
        finally:
            self._advancing = False

    def _go_on(self) -> None:
        """Turn to what was sent ahead, if anything was."""
        self._intake.release(AHEAD)
        self._advance()

    def _read_head(self) -> bool:
        """Whether a whole head was there."""
        head = self._reader.take_head()
        if head is None:
            if self._reader.empty:
                self._deadline.set(self._limits.idle, self._part)
            elif not self._deadline.awaits(self._too_late):
                self._deadline.set(self._limits.head_within, self._too_late)
            return False
        self.persistent = head.keep_alive and not self.site.draining
        self.request = request = self.site.request_for(self, head)
        if not request.screen():
            if head.length != 0:
                self.persistent = False  # its body is not going to be read
            self._answer(request.decline)
            return True
        if head.length == 0:
            request.take(b"")
            self._answer(request.process)
            return True
        self._reader.expect_body(head)
        if head.expects_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._deadline.set(self._limits.body_within, self._too_late)
        return True

    def _read_body(self) -> bool:
        """Whether the whole body was there."""
        body, request = self._reader.take_body(), self.request
        if body is None:
            return False
        assert request is not None
        request.take(body)
        self._answer(request.process)
        return True

    @property
    def ahead(self) -> bytes:
        """What was sent behind the request."""
        return bytes(self._reader.buffer)

    def _answer(self, begin: Callable[[], None]) -> None:
        self._deadline.clear()
        self._answering = True
        begin()

    def _refuse(self, fault: Malformed) -> None:
        """Answer what can't be followed, and hang up."""
        self.persistent = False
        self._reader.forget()
        request = self.request = self.request or self.site.request_for(self, None)
        self._answer(lambda: request.refuse(fault))

    def _too_late(self) -> None:
        self._refuse(Malformed(408, "The request took too long to arrive"))

    # Answers out: called by `Request`.

    def requestDone(self, request: Request | Quick) -> None:
        self.request, self._answering = None, False
        self.site.answered(self)
        if not self.persistent:
            self._hang_up()
        elif self._clogged:
            self._deadline.set(self._limits.idle, self.abort)
        else:
            self._go_on()

    def loseConnection(self) -> None:
        self._hang_up()

    # The transport tells how fast the client takes its answers.

    def pauseProducing(self) -> None:
        self._clogged = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._clogged = False
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self._hung_up:
            self._say_no_more()
        elif not self._answering:
            self._go_on()

    # The end.

    def _part(self) -> None:
        """Close where nobody waits for anything."""
        self._hung_up = True
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        self._deadline.set(self._limits.linger, self.abort)

    def _hang_up(self) -> None:
        """Close, once the client has had time to take what was written."""
        if self._hung_up:
            return
        self._hung_up = True
        self._reader.forget()
        if self._clogged:
            patience = self._limits.linger if self.site.draining else self._limits.idle
            self._deadline.set(patience, self.abort)
        else:
            self._say_no_more()

    def _say_no_more(self) -> None:
        """Half-close, and read on for a while: closing on unread bytes would reset the
        connection, and the client could lose the answer (RFC 9112, 9.6)."""
        transport = self._transport
        transport.unregisterProducer()
        self._intake.release(AHEAD)
        if self._heard_all:
            transport.loseConnection()
        else:
            getattr(transport, "loseWriteConnection", transport.loseConnection)()
        self._deadline.set(self._limits.linger, self.abort)

    def _forget(self) -> None:
        """This connection is no longer ours."""
        self._deadline.stop()
        self._intake.stop()
        self._hung_up = True
        self._reader.forget()
        self.request = None
        self.site.gone(self)
