"""The broker of several instances: delivers live publications here at once, and on others through Redis pub/sub.

All go over one channel.  Whether Redis can be written to and delivers is checked
by a probe every second: a subscription can be dead behind a connection that is
alive, and a replica delivers only what is published to itself.  While the probe
does not come back, publications reach this instance only, and `scope` says so;
and while `peers` finds an instance that is on another Redis.
"""

from __future__ import annotations

import secrets
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError, ResponseError

from ..base.bounded_map import BoundedMap
from ..base.one_line import one_line
from ..core.pubsub.dispatcher import Dispatcher
from ..core.transactions import Publication
from ..redis.address import RedisAddress
from ..redis.connection import (
    RedisCommandProtocol,
    RedisConnection,
    RedisSubscriberProtocol,
    check_writable,
)
from .peers import Peers
from .redis_codec import BadBrokerMessage, BrokerMacKey, decode, encode, encode_publication

PROBE_INTERVAL = 1.0  # seconds between probes; one that takes longer has failed
START_TIMEOUT = 2.0  # seconds that a start waits for the first probe
MAX_IN_FLIGHT = 8 << 20  # bytes that Redis has not acknowledged; beyond, publications are dropped for others
MAX_MESSAGE_SIZE = 256 << 10  # bytes of publications in one message, exceeded by the last one at most
# Seconds of dispatching other instances' publications, before the reactor has its turn.
MAX_DISPATCH_TIME = 0.01
ANNOUNCE_TIMEOUT = 0.5  # seconds for Redis to accept an announcement
LEAVE_INTERVAL = 3.0  # seconds between two attempts to find the Redis of missing instances…
MAJORITY_LEAVE_INTERVAL = 30.0  # …where more instances are on this one
MAX_INSTANCES = 1000  # of which the last sequence number is kept


class RedisBrokerObserver(Protocol):
    """Counts what the broker drops, refuses and measures, as `observe.metrics.Metrics` does."""

    def on_dropped(self) -> None:
        """A publication was not sent to other instances."""

    def on_malformed(self) -> None:
        """A message on our channel was not from one of our instances."""

    def on_probed(self, seconds: float) -> None:
        """A probe came back after `seconds`."""


@define(eq=False, repr=False)
class RedisBroker(Service):
    """`core.ports.Broker` for many instances."""

    _address: RedisAddress
    _channel_prefix: str  # of channels
    _mac_key: BrokerMacKey
    _dispatcher: Dispatcher
    _reactor: Any
    _observer: RedisBrokerObserver
    _instance_id: str = field(factory=lambda: secrets.token_hex(8))
    up: bool = field(default=False, init=False)  # the last probe came back, and no instance is missing
    _probed_since: float | None = field(default=None, init=False)  # since when probes come back
    _leave_at: float = field(default=0.0, init=False)  # when to connect anew while instances are missing
    _peers: Peers = field(init=False)
    _leave_listeners: list[Callable[[], object]] = field(factory=list, init=False)
    _sequence: int = field(default=0, init=False)
    # The last sequence number of each other instance.
    _last_sequences: BoundedMap[str, int] = field(factory=lambda: BoundedMap(MAX_INSTANCES), init=False)
    _outgoing: list[bytes] = field(factory=list, init=False)  # to be sent at the end of this turn
    _flush_call: IDelayedCall | None = field(default=None, init=False)  # at that end
    # Of other instances, to be dispatched here.
    _incoming: deque[Publication] = field(factory=deque, init=False)
    # In a later turn; until then nothing more is read.
    _dispatch_call: IDelayedCall | None = field(default=None, init=False)
    _in_flight: int = field(default=0, init=False)  # bytes
    # Its payload, and when it was sent.
    _pending_probe: tuple[bytes, float] | None = field(default=None, init=False)
    # The next probe, or the timeout of this one.
    _probe_call: IDelayedCall | None = field(default=None, init=False)
    _probe_error: str = field(default="", init=False)  # Redis's error for the last probe
    _first_probe: Deferred[None] = field(factory=Deferred, init=False)
    _command_connection: RedisConnection = field(init=False)
    _subscriber_connection: RedisConnection = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._command_connection = RedisConnection(
            self._address,
            RedisCommandProtocol,
            self._reactor,
            self._check_writable,
            self._on_connection_change,
        )
        self._subscriber_connection = RedisConnection(
            self._address,
            lambda: RedisSubscriberProtocol(self._on_message),
            self._reactor,
            self._subscribe,
            self._on_connection_change,
        )

    @_peers.default
    def _make_peers(self) -> Peers:
        return Peers(self._reactor, self._was_subscribed_for, self._on_peer_missing)

    @property
    def scope(self) -> str | None:
        """ "instance" while publications reach the subscribers of this instance only."""
        return None if self.up else "instance"

    @property
    def connections(self) -> int:
        return sum(
            each.protocol is not None for each in (self._command_connection, self._subscriber_connection)
        )

    def publish(self, publication: Publication) -> Deferred[None]:
        """Never fails: the live lane is at most once, and the subscribers of this instance need no Redis."""
        delivered = self._dispatcher.dispatch_live(publication) or succeed(None)
        if not self.running or self._command_connection.protocol is None or self._in_flight > MAX_IN_FLIGHT:
            self._observer.on_dropped()
            return delivered
        if self._flush_call is None:
            self._flush_call = self._reactor.callLater(0, self._flush)
        row = encode_publication(publication)
        self._outgoing.append(row)
        self._in_flight += len(row)
        return delivered

    def on_leave(self, listener: Callable[[], object]) -> None:
        """Call `listener` when this Redis is left because other instances are on another one."""
        self._leave_listeners.append(listener)

    # Announcements: `log.canary` writes into the log what `announce` returns, and passes on what others wrote.

    async def announce(self) -> object:
        """Publish an announcement; returns what the log is to say of it."""
        self._sequence += 1  # of all messages, so that none can be replayed as one of the other kind
        number = self._sequence
        protocol = self._command_connection.protocol
        if self._probed_since is None or protocol is None:
            number = 0
        else:
            message = encode(self._mac_key, self._instance_id, number, [])
            try:
                published = protocol.execute_command("PUBLISH", self._announcement_channel, message)
                await published.addTimeout(ANNOUNCE_TIMEOUT, self._reactor)
            except (RedisError, TimeoutError):
                number = 0
        return {"instance": self._instance_id, "announcement": number}

    def on_announcement_logged(self, content: object) -> None:
        match content:
            case {"instance": str(instance), "announcement": int(number)} if self.running:
                if instance != self._instance_id:
                    self._peers.on_logged(instance, number)

    # The service.

    def startService(self) -> Deferred[None]:
        """Fires once the first probe is back, or after `START_TIMEOUT` seconds: the connections retry by themselves."""
        super().startService()
        self._command_connection.start()
        self._subscriber_connection.start()
        waited = self._first_probe.addTimeout(START_TIMEOUT, self._reactor)
        waited.addErrback(lambda late: self._log.error("{why}", why=self._down_reason()))
        return waited

    async def health(self) -> None:
        """For a health check.  Raises when the last probe has failed."""
        if not self.up:
            raise ConnectionError(self._down_reason())

    def stopService(self) -> Deferred[Any]:
        """Fires when all publications have been sent, if Redis accepts them, and both connections are closed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._schedule_probe_call(None)
        self._peers.stop()
        if self._flush_call is not None:
            self._flush_call.cancel()
            self._flush()
        if self._command_connection.protocol is not None:
            with suppress(RedisError):
                await self._command_connection.protocol.ping()  # answered after all that was sent before
        self.up = False
        if self._dispatch_call is not None:
            self._dispatch_call.cancel()
            self._dispatch_call = None
        self._incoming.clear()
        if not self._first_probe.called:
            self._first_probe.callback(None)
        stopping = (each.stop() for each in (self._command_connection, self._subscriber_connection))
        await gatherResults([each for each in stopping if each is not None])

    # Publishing.

    def _flush(self) -> None:
        rows, self._outgoing, self._flush_call = self._outgoing, [], None
        while rows:
            size = count = 0
            while count < len(rows) and size < MAX_MESSAGE_SIZE:
                size += len(rows[count])
                count += 1
            self._send_message(rows[:count], size)
            rows = rows[count:]

    def _send_message(self, rows: list[bytes], size: int) -> None:
        protocol = self._command_connection.protocol
        if protocol is None:
            self._on_published(Failure(ConnectionError()), rows, size)
            return
        self._sequence += 1
        message = encode(self._mac_key, self._instance_id, self._sequence, rows)
        answered = protocol.execute_command("PUBLISH", self._live_channel, message)
        answered.addBoth(self._on_published, rows, size)

    def _on_published(self, result: object, rows: list[bytes], size: int) -> None:
        """Count what was dropped; a failing Redis is detected by the probe."""
        self._in_flight -= size
        if isinstance(result, Failure):
            for _ in rows:
                self._observer.on_dropped()

    # Receiving.

    @property
    def _live_channel(self) -> bytes:
        return f"{self._channel_prefix}live".encode()

    @property
    def _probe_channel(self) -> bytes:
        return f"{self._channel_prefix}probe:{self._instance_id}".encode()

    @property
    def _announcement_channel(self) -> bytes:
        return f"{self._channel_prefix}announcements".encode()

    async def _check_writable(self, protocol: Any) -> None:
        await check_writable(protocol, f"{self._channel_prefix}probe".encode())

    async def _subscribe(self, subscriber: Any) -> None:
        await self._check_writable(subscriber)
        await subscriber.subscribe([self._live_channel, self._probe_channel, self._announcement_channel])

    def _on_message(self, channel: bytes, message: bytes) -> None:
        if channel == self._probe_channel:
            self._on_probe_returned(message)
            return
        try:
            batch = decode(self._mac_key, message, self._instance_id)
        except BadBrokerMessage as malformed:
            self._observer.on_malformed()
            self._log.debug("a message in Redis is {why}", why=str(malformed))
            return
        if batch is not None and channel == self._announcement_channel:
            self._peers.on_received(batch.instance, batch.sequence)
            return
        if batch is None or batch.sequence <= (self._last_sequences.get(batch.instance) or 0):
            return  # our own, or replayed
        self._last_sequences.put(batch.instance, batch.sequence)
        self._incoming += batch.publications
        if self._dispatch_call is None:
            self._dispatch_incoming()

    def _dispatch_incoming(self) -> None:
        """Dispatch as much as one turn has time for; until the rest is dispatched, no more is read."""
        self._dispatch_call, end = None, self._reactor.seconds() + MAX_DISPATCH_TIME
        while self._incoming:
            self._dispatcher.dispatch_batch([self._incoming.popleft()])
            if self._incoming and self._reactor.seconds() >= end:
                self._dispatch_call = self._reactor.callLater(0, self._dispatch_incoming)
                break
        if self._subscriber_connection.protocol is not None:
            transport = self._subscriber_connection.protocol.transport
            transport.pauseProducing() if self._incoming else transport.resumeProducing()

    # Probing.

    def _on_connection_change(self) -> None:
        """A connection was made or lost."""
        self._schedule_probe_call(None)
        if self.connections == 2 and self.running:
            self._send_probe()
        else:
            self._mark_down()

    def _schedule_probe_call(self, then: Callable[[], object] | None) -> None:
        """Call `then` in `PROBE_INTERVAL` seconds, in place of what was scheduled before."""
        if self._probe_call is not None and self._probe_call.active():
            self._probe_call.cancel()
        self._pending_probe = None
        self._probe_call = None if then is None else self._reactor.callLater(PROBE_INTERVAL, then)

    def _send_probe(self) -> None:
        self._schedule_probe_call(self._on_probe_timeout)
        self._pending_probe = secrets.token_bytes(16), self._reactor.seconds()
        self._probe_error = ""
        probing = Deferred.fromCoroutine(
            self._write_and_publish(self._command_connection.protocol, self._pending_probe[0])
        )
        probing.addErrback(self._on_probe_refused, self._pending_probe)

    async def _write_and_publish(self, protocol: Any, probe: bytes) -> None:
        """Publish `probe` once Redis has accepted a write."""
        await self._check_writable(protocol)
        await protocol.execute_command("PUBLISH", self._probe_channel, probe)

    def _on_probe_refused(self, failure: Failure, probe: tuple[bytes, float]) -> None:
        """Leave a Redis that answers with an error; a connection that is lost is noticed by itself."""
        if probe is self._pending_probe and failure.check(ResponseError):
            self._probe_error = one_line(failure.value)
            self._leave()

    def _on_probe_timeout(self) -> None:
        if self._incoming:  # this instance is behind: the probe may be among what it has not read yet
            self._probe_call = self._reactor.callLater(PROBE_INTERVAL, self._on_probe_timeout)
            return
        self._leave()

    def _leave(self) -> None:
        """Give this Redis up and connect anew: the name may lead to another one by now."""
        self._schedule_probe_call(None)
        self._mark_down()
        self._command_connection.abort()
        self._subscriber_connection.abort()

    def _on_probe_returned(self, message: bytes) -> None:
        if self._pending_probe is None or message != self._pending_probe[0]:
            return
        self._observer.on_probed(self._reactor.seconds() - self._pending_probe[1])
        self._schedule_probe_call(self._send_probe)
        if self._probed_since is None:
            self._probed_since = self._reactor.seconds()
        if self._peers.missing:
            Deferred.fromCoroutine(self.announce())  # if they are here now, they wait for it, too
            self._leave_for_missing_peers()
        elif not self.up:
            self.up = True
            self._log.info("live topics reach all instances through {address}", address=str(self._address))
        if not self._first_probe.called:
            self._first_probe.callback(None)

    def _was_subscribed_for(self, seconds: float) -> bool:
        return (
            self._probed_since is not None
            and not self._incoming  # behind which an announcement may wait
            and self._reactor.seconds() - self._probed_since >= seconds
        )

    def _on_peer_missing(self) -> None:
        """Say so; who is in the minority, or one of two, leaves at once."""
        if self.up:
            self._leave_at = self._reactor.seconds() + (
                MAJORITY_LEAVE_INTERVAL if self._is_majority_here else 0.0
            )
            self.up = False
            self._log.error("{why}", why=self._down_reason())
        self._leave_for_missing_peers()

    @property
    def _is_majority_here(self) -> bool:
        return 1 + self._peers.reached > self._peers.missing

    def _leave_for_missing_peers(self) -> None:
        """Connect anew now and then: either side may be the wrong one."""
        now = self._reactor.seconds()
        if now >= self._leave_at:
            self._leave_at = now + (MAJORITY_LEAVE_INTERVAL if self._is_majority_here else LEAVE_INTERVAL)
            self._leave()
            for listener in self._leave_listeners:
                listener()

    def _mark_down(self) -> None:
        self._probed_since = None
        if self.up:
            self.up = False
            self._log.error("{why}", why=self._down_reason())

    def _down_reason(self) -> str:
        """Why publications reach this instance only, for the operator."""
        if self._peers.missing:
            return (
                f"live topics do not reach all instances: {self._peers.missing} that use the same database"
                f" are on another Redis than the one at {self._address}"
            )
        lost = [
            each.down_reason
            for each in (self._command_connection, self._subscriber_connection)
            if each.protocol is None
        ]
        # A connection that was left for an error says no more than that it was left.
        why = self._probe_error or (lost[0] if lost else "what is published does not come back")
        return f"live topics reach only this instance, Redis at {self._address} is of no use: {why}"
