"""One HTTP connection: which bytes are the next request, and when the connection closes.

It replaces `twisted.web.http.HTTPChannel`, which accepts bodies of any size and
heads that RFC 9112 refuses, and has no deadlines.  One request at a time is read
and answered; pipelined requests wait in a bounded buffer.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Sequence

from attrs import define, field
from twisted.internet._producer_helpers import _PullToPush  # as `twisted.web.http` does
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from ..base.client_network import ClientNetwork, client_network
from ..base.tcp_socket import (
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    acknowledged_bytes,
    has_unacknowledged,
    read_now,
    tcp_state,
)
from ..core.connections.read_throttle import ReadThrottle
from ..core.errors import RateLimited
from .codec import HttpProtocolError, RequestHead, unparsable_head
from .interfaces import ChannelRequest, ChannelSite
from .limits import HttpLimits, RequestDeadline
from .reader import RequestReader
from .resolved_head import ResolvedHead

PIPELINE_FULL = "ahead"  # a reason to pause reading: too many pipelined bytes
TURN = "turn"  # another one: a body waits to be read or decoded
PROBE_INTERVAL = 1.0  # seconds between two interim responses to a client that may have left
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
@define(eq=False, repr=False)
class Channel:
    """One HTTP connection of the site.

    camelCase methods are called by the transport or by the request.
    """

    site: ChannelSite
    _limits: HttpLimits
    persistent: bool = True  # whether another request may follow the one being answered
    secure: bool = False
    peer_address: str = ""  # of the client, or of the proxy in front of it
    peer_network: ClientNetwork = ClientNetwork("")
    request: ChannelRequest | None = None  # being received or answered
    resolved_head: ResolvedHead | None = None  # what was derived from the last head
    is_counted: bool = False  # as a new connection
    _held_network: ClientNetwork | None = None  # whose new connection waits with its request, above the rate
    _transport: Any = field(default=None, init=False)
    _write_paused: bool = field(default=False, init=False)  # the transport's buffer is full
    _producer: IPushProducer | None = field(default=None, init=False)  # of the response being streamed
    _probed_at: float | None = (
        None  # when an interim response was sent to find out whether the client has left
    )
    _waits_for_turn: bool = False  # a body, to be decoded
    _read_closed: bool = field(default=False, init=False)  # the client half-closed
    _read_throttle: ReadThrottle = field(init=False)
    _reader: RequestReader = field(init=False)
    _responding: bool = False
    _processing: bool = False
    _closing: bool = False
    _deadline: RequestDeadline = field(init=False)

    # Opening and closing.

    def __attrs_post_init__(self) -> None:
        self._reader, self._deadline = (
            RequestReader(self._limits.max_body_bytes),
            RequestDeadline(self.site.clock),
        )
        self._read_throttle = ReadThrottle(
            self._pause_reading, self._resume_reading, self._limits.read_rate, self.site.clock
        )

    @property
    def transport(self) -> Any:
        return self._transport

    @transport.setter
    def transport(self, transport: Any) -> None:
        """Setting this to `None` takes the connection over."""
        request = self.request
        if transport is None and request is not None:
            self._transport.unregisterProducer()
            self._detach()
            request.on_upgraded()
        self._transport = transport

    def makeConnection(self, transport: Any) -> None:
        self._transport = transport
        self.secure = ISSLTransport.providedBy(transport)
        self.peer_address = str(getattr(transport.getPeer(), "host", ""))
        self.peer_network = client_network(self.peer_address)
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        refusal = self.site.admission_error(self)
        if refusal is None:
            self._deadline.set(self._limits.idle_timeout, self._close_idle)
        else:
            self._close_with_error(refusal)

    def connectionMade(self) -> None:
        """Does nothing: `makeConnection` does it all."""

    def connectionLost(self, reason: Failure) -> None:
        request = self.request
        self._detach()
        if request is not None:
            request.connectionLost(reason)

    def readConnectionLost(self) -> None:
        """The client has half-closed: what it has requested is answered, then the connection closes.

        An event stream is aborted: its client has most likely disconnected.
        """
        self._read_closed = True
        if self._closing:
            if not self._write_paused:
                self._transport.loseConnection()
        elif self.site.is_streaming(self):
            self.abort()
        elif self._held_network is not None:
            if self.request is not None and self.request.takes_interim_responses:
                self._transport.write(CONTINUE)  # who has closed the connection answers with a reset
        else:
            self._process_buffer()

    def writeConnectionLost(self) -> None:
        """Our half is closed; nothing is left to do."""

    def drain(self) -> None:
        """Accept no further request; close as soon as the current one is answered."""
        self.persistent = False
        if self._closing:
            if self._write_paused:
                self._deadline.set(self._limits.linger_timeout, self.abort)
        elif self._responding:
            pass
        elif self._reader.is_empty:
            self._close_idle()
        else:
            self._close_with_error(HttpProtocolError(503, "server is shutting down"))

    def close_now(self) -> None:
        """Abort now, or after `linger_timeout` if it is closing already, so that the last bytes arrive."""
        if self._closing:
            self._deadline.set(self._limits.linger_timeout, self.abort)
        else:
            self.abort()

    # Requests in.

    def dataReceived(self, data: bytes) -> None:
        self._read_throttle.charge(len(data))
        if self._closing:
            return
        buffer = self._reader.buffer
        buffer += data
        if self._responding or self._write_paused:
            if len(buffer) > self._limits.max_pipelined_bytes:
                self._read_throttle.pause(PIPELINE_FULL)
            return
        self._process_buffer()

    def _process_buffer(self) -> None:
        """Read requests from the buffer, and begin to answer them, as far as they are complete."""
        if self._processing:
            return
        self._processing = True
        try:
            while not (self._responding or self._write_paused or self._closing):
                if not (self._read_head() if self._reader.head is None else self._read_body()):
                    if self._read_closed and not self._waits_for_turn:
                        self._close_idle()
                    break
        except HttpProtocolError as fault:
            self._close_with_error(fault)
        finally:
            self._processing = False

    def _process_pipelined(self) -> None:
        """Go on with the pipelined requests, if there are any."""
        self._read_throttle.resume(PIPELINE_FULL)
        self._process_buffer()

    def _read_head(self) -> bool:
        """Read a head and begin its request; returns whether the head was complete."""
        head = self._reader.read_head()
        if head is None:
            if self._reader.is_empty:
                self._deadline.set(self._limits.idle_timeout, self._close_idle)
            elif not self._deadline.is_set_for(self._on_receive_timeout):
                self._deadline.set(self._limits.head_timeout, self._on_receive_timeout)
            return False
        self.persistent = head.keep_alive and not self.site.draining
        self.request = self.site.make_request(self, head)
        wait = self._count_connection()
        if wait:
            self._responding = True
            self._deadline.set(wait, partial(self._begin_held_request, head))
        else:
            self._begin_request(head)
        return True

    def _count_connection(self) -> float:
        """The seconds that the request has to wait because it begins a new connection.  Raises `HttpProtocolError`."""
        network = self.site.connecting_network(self)
        if network is None:
            return 0.0
        try:
            wait = self.site.connection_rate_limiter.reserve(network)
        except RateLimited as refusal:
            raise HttpProtocolError(429, refusal.message, refusal.retry_after) from None
        if wait:
            self._held_network = network
        return wait

    def _begin_held_request(self, head: RequestHead) -> None:
        self._held_network, self._responding = None, False
        self._begin_request(head)
        if not self._responding:
            self._process_pipelined()  # its body

    def _begin_request(self, head: RequestHead) -> None:
        """Begin to answer the request, or to receive its body."""
        request = self.request
        assert request is not None
        if not request.check_admission():
            if head.length != 0:
                self.persistent = False  # its body is not read
            self._start_response(request.reject)
            return
        if head.length == 0:
            request.receive_body(b"")
            self._start_response(request.process)
            return
        self._reader.expect_body(head)
        if head.expects_continue:
            self._transport.write(CONTINUE)
        self._deadline.set(self._limits.body_timeout, self._on_receive_timeout)

    def _read_body(self) -> bool:
        """Read the body and process its request; returns whether the next step may follow at once."""
        request = self.request
        assert request is not None
        if self._waits_for_turn:
            return False
        if self._reader.is_chunked and not self._take_turn(request):
            return False
        began = self.site.turns.now()
        body = self._reader.read_body()
        self.site.turns.count(request.turn_key, "requests", began)
        if body is None:
            return self._take_turn(request) and self._reader.is_interrupted
        request.receive_body(body)
        self._start_response(request.process)
        return True

    def _take_turn(self, request: ChannelRequest) -> bool:
        """Whether there is time to go on with the body of `request`; if not, nothing is read until its turn."""
        if self.site.turns.has_time(request.turn_key):
            return True
        self._waits_for_turn = True
        self._read_throttle.pause(TURN)
        self.site.turns.run_later(request.turn_key, "requests", self._on_turn)
        return False

    def _on_turn(self) -> None:
        """Go on with a body that has waited: decode what came of it, and read what came since, within its turn."""
        self._waits_for_turn = False
        self._read_throttle.resume(TURN)
        self._process_buffer()
        if not self._read_throttle.is_paused:
            read_now(self._transport)

    @property
    def pipelined_bytes(self) -> bytes:
        """What the client has sent after the request."""
        return bytes(self._reader.buffer)

    def _start_response(self, begin: Callable[[], None]) -> None:
        """Call `begin` when it is the client's turn: now, unless there is more to do than the reactor has time for."""
        self._deadline.cancel()
        self._responding = True
        assert self.request is not None
        turns, key = self.site.turns, self.request.turn_key
        if not turns.run_now(key, "requests", begin):
            turns.run_later(key, "requests", partial(self._begin_after_wait, key, begin))

    def _begin_after_wait(self, key: str, begin: Callable[[], None]) -> None:
        self.find_client(key, "requests", lambda is_there: begin() if is_there else None)

    def find_client(self, key: str, kind: str, on_found: Callable[[bool], object]) -> None:
        """Call `on_found` with whether the client of a request that has waited is there; if not, abort the connection.

        A client that has closed the connection looks as if it had half-closed it until something is sent to it; and
        as if it had not, while what it sent before is more than is read.  So it is sent an interim response, once a
        second at most, which its system answers with a reset; others ignore that (RFC 9110, 15.2.1).  Then
        `on_found` is called in a later turn of `key`, for work of this `kind`.
        """
        state, request, now = tcp_state(self._transport), self.request, self.site.clock.seconds()
        may_have_left = state == TCP_CLOSE_WAIT or self._read_throttle.is_paused
        was_probed = self._probed_at is not None and now - self._probed_at < PROBE_INTERVAL
        if state == TCP_CLOSE:
            self.abort()
            on_found(False)
        elif not may_have_left or was_probed or not (request and request.takes_interim_responses):
            on_found(True)
        else:
            self._probed_at = now
            self._transport.write(CONTINUE)
            self.site.turns.run_in_later_turn(key, kind, partial(self.find_client, key, kind, on_found))

    def _close_with_error(self, fault: HttpProtocolError) -> None:
        """Answer with `fault`, and close."""
        self.persistent = False
        self._reader.discard()
        request = self.request = self.request or self.site.make_request(self, unparsable_head(fault))
        self._start_response(lambda: request.reject_protocol_error(fault))

    def _on_receive_timeout(self) -> None:
        self._close_with_error(HttpProtocolError(408, "The request took too long to arrive"))

    # Called by the read throttle.

    def _pause_reading(self) -> None:
        self._transport.pauseProducing()

    def _resume_reading(self) -> None:
        if not self._read_closed:  # the transport would report the half-close again
            self._transport.resumeProducing()

    # Responses out: called by the request.

    def count_inflated(self, size: int) -> None:
        self._read_throttle.charge(size)

    def close_after_response(self) -> None:
        self.persistent = False

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def writeSequence(self, data: Sequence[bytes]) -> None:
        self.write(b"".join(data))

    def abort(self) -> None:
        """Drop the connection, with what was not sent yet."""
        if self._transport is not None:
            self._transport.abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if not streaming:  # a pull producer, as `twisted.web.static.File` is
            producer = _PullToPush(producer, self)
            producer.startStreaming()
        self._producer = producer
        if self._write_paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        producer, self._producer = self._producer, None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()

    def getPeer(self) -> IAddress:
        return self._transport.getPeer()  # type: ignore[no-any-return]

    def getHost(self) -> IAddress:
        return self._transport.getHost()  # type: ignore[no-any-return]

    def requestDone(self, request: ChannelRequest) -> None:
        self.request, self._responding = None, False
        self.site.on_response_done(self)
        if not self.persistent:
            self._close_after_response()
        elif self._write_paused:
            self._deadline.set(self._limits.idle_timeout, self.abort)
        else:
            self._process_pipelined()

    def loseConnection(self) -> None:
        self._close_after_response()

    # Flow control of responses: called by the transport.

    def pauseProducing(self) -> None:
        self._write_paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._write_paused = False
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self._closing:
            self._half_close()
        elif not self._responding:
            self._process_pipelined()

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` follows."""

    # Closing.

    def _close_idle(self) -> None:
        """Close a connection on which no response is due."""
        self._closing = True
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        self._deadline.set(self._limits.linger_timeout, self.abort)

    def _close_after_response(self) -> None:
        """Close, once the client has had time to read what was written."""
        if self._closing:
            return
        self._closing = True
        self._reader.discard()
        if self._write_paused:
            timeout = self._limits.linger_timeout if self.site.draining else self._limits.idle_timeout
            self._deadline.set(timeout, self.abort)
        else:
            self._half_close()

    def _half_close(self) -> None:
        """Half-close, and read on for a while: closing on unread bytes would reset the
        connection, and the client could lose the response (RFC 9112, 9.6)."""
        transport = self._transport
        transport.unregisterProducer()
        self._read_throttle.resume(PIPELINE_FULL)
        if self._read_closed:
            transport.loseConnection()
        else:
            getattr(transport, "loseWriteConnection", transport.loseConnection)()
        self._linger(self._limits.idle_timeout, None)

    def _linger(self, seconds: float, acknowledged: int | None) -> None:
        """Abort after `linger_timeout`; but after `seconds` where the client goes on reading the last response."""
        self._deadline.set(
            self._limits.linger_timeout, partial(self._on_linger_timeout, seconds, acknowledged)
        )

    def _on_linger_timeout(self, seconds: float, acknowledged: int | None) -> None:
        seconds -= self._limits.linger_timeout
        current = acknowledged_bytes(self._transport)
        if (
            self.site.draining
            or seconds <= 0
            or current == acknowledged
            or not has_unacknowledged(self._transport)
        ):
            self.abort()
        else:
            self._linger(seconds, current)

    def _detach(self) -> None:
        """Stop all timers and forget the connection: it is lost, or taken over."""
        if self._held_network is not None:
            self.site.connection_rate_limiter.release(self._held_network)
        self._deadline.stop()
        self._read_throttle.detach()
        self._closing = True
        self._reader.discard()
        self.request = None
        self.unregisterProducer()
        self.site.on_channel_closed(self)
