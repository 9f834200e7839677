"""One connected peer, whatever wire it uses: its commands, its replies, its rights and its end.

Authentication, subscriptions, publishing, order, keepalive and flow control are implemented here once.
A wire passes decoded commands to `receive`, writes replies as their `Transport`, and reports
`connection_lost`.
"""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...base.coroutines import start_eagerly
from ...observe.protocol_stats import ProtocolStats
from ..client_info import ClientInfo
from ..errors import Conflict, InternalError, Refusal, Unauthorized, Unavailable
from ..identity import Identity
from ..ports import Authenticator, DeliveryBatchListener, Transport
from ..protocol import (
    Authenticate,
    Authenticated,
    BadCommand,
    CaughtUp,
    CloseReason,
    Command,
    Delivery,
    DeliveryBatch,
    EndOfInput,
    ErrorReply,
    Farewell,
    Ping,
    Pong,
    Publish,
    Reply,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from ..pubsub.dispatcher import Dispatcher
from ..pubsub.publisher import Publisher
from ..pubsub.replay import ReplayPruned, ReplayReader
from ..turn_scheduler import TurnScheduler
from .admission import FAREWELL_MESSAGES, ConnectionLimits
from .command_queue import CommandQueue
from .delays import Delays
from .graceful_close import GracefulClose
from .no_transport import NoTransport
from .publish_window import PublishWindow
from .read_throttle import TURN, ReadThrottle
from .send_queue import SendQueue
from .subscriptions import ConnectionSubscriptions
from .timers import ConnectionTimers

AUTHENTICATING = "authenticating"  # a reason to pause the reading


@define(eq=False, repr=False)
class Connection(DeliveryBatchListener):
    """Lives exactly as long as one connection of a wire, or one stream."""

    _transport: Transport
    id: str
    _authenticator: Authenticator
    _dispatcher: Dispatcher
    _replay_reader: ReplayReader
    _publisher: Publisher
    _clock: IReactorTime
    _limits: ConnectionLimits
    _stats: ProtocolStats
    _new_id: Callable[[], str]
    _on_closed: Callable[[Connection], None]
    turns: TurnScheduler
    turn_key: str  # whose share of the reactor's time it has
    identity: Identity | None = None
    _host: str = ""  # the peer's address
    last_received_at: float = field(init=False)  # by `_clock`, like all times here
    # Whether its client has used what the predecessor of this server did not have: an `id`, a cursor, an idempotency
    # key, a credential.  Only then is it sent what a client of the predecessor would not understand.
    uses_extensions: bool = False
    farewell: Farewell | None = None  # why it is closing or closed
    disconnected: bool = False  # the transport has reported its end
    send_queue: SendQueue = field(init=False)  # the wire registers it as its transport's producer
    _timers: ConnectionTimers = field(init=False)
    _graceful_close: GracefulClose | None = None  # while `farewell` is on its way
    _subscriptions: ConnectionSubscriptions = field(init=False)
    _read_throttle: ReadThrottle = field(init=False)
    _command_queue: CommandQueue = field(init=False)
    _publish_window: PublishWindow = field(init=False)
    _delays: Delays | None = None  # made for the first: most connections never exceed a rate
    _processing: bool = False
    _unanswered_logins: int = 0
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        limits = self._limits
        self._subscriptions = ConnectionSubscriptions(
            self, self._dispatcher, self._replay_reader, self._stats, limits, self._new_id, self._publisher
        )
        self._read_throttle = ReadThrottle(
            self._transport.pause_reading,
            self._transport.resume_reading,
            limits.read_rate,
            self._clock,
            limits.command_rate,
        )
        self._command_queue = CommandQueue(self._read_throttle, limits)
        self._publish_window = PublishWindow(self._publisher, self._stats, self.id)
        self.send_queue = SendQueue(
            self._write, self._transport.size_of, limits.max_queued_replies, limits.max_queued_reply_bytes
        )
        self.last_received_at = self._clock.seconds()
        self._timers = ConnectionTimers(limits, self.last_received_at, self.last_received_at)

    # What the wire calls.

    def receive(self, command: Command, size: int = 0) -> None:
        """Queue one command of `size` bytes, or the `BadCommand` that a codec made of other bytes.

        They are processed one at a time, in order: SUBSCRIBE waits for the AUTH
        before it, even while a database looks up the user.
        """
        if self.farewell:
            return
        if not isinstance(command, EndOfInput):
            self._read_throttle.charge_command()
        self._command_queue.enqueue(command, size)
        if isinstance(command, Authenticate):
            self._unanswered_logins += 1
        if not self._processing:
            start_eagerly(self._process_commands(), self._on_internal_error)
        if self._unanswered_logins and self.identity is None and self._transport.pauses_for_login:
            self._read_throttle.pause(AUTHENTICATING)
        self._command_queue.pause_if_full()

    def on_activity(self, size: int = 0) -> None:
        """Note that `size` bytes came: once for each read, however many commands are in it."""
        self.last_received_at = self._clock.seconds()
        self._read_throttle.charge(size, self.last_received_at)

    def charge_command(self) -> None:
        """Count a command that the wire processes itself: above the rate, the reading pauses."""
        self._read_throttle.charge_command()

    def pause_reading(self, reason: str) -> None:
        """Read nothing more from the peer until `resume_reading` with the same reason; it counts as alive meanwhile."""
        self._read_throttle.pause(reason)

    def resume_reading(self, reason: str) -> None:
        self._read_throttle.resume(reason)

    def hold(self, seconds: float) -> None:
        """Read nothing for so many seconds, as a new connection has to wait above its rate: its timers begin then."""
        self._timers.begin_later(seconds)
        self._read_throttle.hold(seconds)

    async def delay(self, seconds: float) -> None:
        """Wait, as a publication has to that exceeds a rate, and for those that wait already.

        Raises `Unavailable` when the connection, or what it may do, ends meanwhile.
        """
        if not seconds and (self._delays is None or self._delays.is_empty):
            return
        if self._delays is None:
            self._delays = Delays(self._clock)
        await self._delays.wait(seconds)
        if not self.close_if_expired():
            await self.turns.wait(self.turn_key, "commands")
            await self._dispatcher.wait_until_current()
        if self.close_if_expired():
            raise Unavailable("The connection has ended")

    def message_limit(self, limit: int) -> int:
        """The bytes that a message or frame may have now: `limit`, but before authentication only a few."""
        return limit if self.identity is not None else min(limit, self._limits.max_unauthenticated_size)

    def begin_reading(self) -> float | None:
        """When the parsing of what came begins, for `TurnScheduler.count`.

        If there is no time for it, `None`: the reading pauses until it is this peer's turn.
        """
        began = self.turns.begin(self.turn_key)
        if began is None:
            self._read_throttle.pause(TURN)
            self.turns.run_later(self.turn_key, "frames", self._on_turn)
        return began

    def _on_turn(self) -> None:
        if not self.disconnected:
            self._read_throttle.resume(TURN)

    def close(self, reason: CloseReason) -> None:
        """End all subscriptions and send a farewell; the transport closes in its own time."""
        if self.farewell:
            return
        self.farewell = Farewell(reason, FAREWELL_MESSAGES[reason], self._subscriptions.resume_cursor())
        self._log.debug("connection closing: {why}", why=reason.value, connection=self.id)
        self._subscriptions.close_all()
        self._command_queue.clear()
        self._read_throttle.stop()
        if self._delays is not None:
            self._delays.end()
        self.send_queue.clear()
        if not self.disconnected:
            try:
                self._graceful_close = GracefulClose.begin(
                    self._clock.seconds(), reason, self._limits, self._transport.acknowledged_bytes()
                )
                self._transport.close(self.farewell)
            except Exception:
                # Logged here, not raised: whoever closes many connections goes on with the next.
                self._log.failure("connection could not be closed", connection=self.id)
                self._transport.abort()

    def connection_lost(self) -> None:
        """The transport is closed, whichever side closed it."""
        if not self.disconnected:
            self.disconnected = True
            self.close(CloseReason.CLIENT_CLOSED)
            self._on_closed(self)
            self._release()

    def _release(self) -> None:
        """Let go of all that refers back to this: so it is freed at once, and not by a collection of garbage."""
        self._transport = NoTransport()
        self._read_throttle.detach()
        self.send_queue.stopProducing()
        del self._subscriptions  # all are closed, and no command is begun any more

    # What the hub calls.

    def abort(self) -> None:
        """Cut the transport off: the peer has had its time to read the farewell and to close."""
        try:
            self._transport.abort()
        except Exception:
            self._on_internal_error(Failure())  # whoever cuts off many goes on with the next

    def tick(self) -> None:
        """Ping, warn of the token's expiry, close or abort, whichever is due."""
        try:
            self._check_timers()
        except Exception:
            self._on_internal_error(Failure())

    def _check_timers(self) -> None:
        now = self._clock.seconds()
        if self.farewell:
            graceful_close = self._graceful_close
            if graceful_close is None or graceful_close.is_over(now, self._transport.acknowledged_bytes()):
                self._transport.abort()
            return
        if self._read_throttle.is_paused:
            self.last_received_at = now  # it may have sent what we have not read
        match self._timers.due(now, self.last_received_at, self.identity, self.uses_extensions):
            case CloseReason() as reason:
                self.close(reason)
            case reply:
                self.send(reply)

    # What the dispatcher and the subscriptions call, thousands of times a turn: authorize, check expiry, enqueue.

    def deliver(self, delivery: Delivery) -> bool:
        # A pattern may cover topics that its owner may not read: authorized here, where the topic is known.
        if not self.may_read(delivery):
            return False
        if not self.close_if_expired():
            self.send(delivery)
        return True

    def may_read(self, delivery: Delivery) -> bool:
        return self.identity is not None and self._publisher.policy.may_read(
            self.identity, delivery.topic, delivery.required_topic
        )

    def deliver_batch(self, batch: DeliveryBatch) -> bool | None:
        identity = self.identity
        if identity is None or not self._publisher.policy.may_read(identity, batch.topic):
            return False
        if (self.farewell or self._clock.seconds() >= identity.deadline) and self.close_if_expired():
            return True
        size = 0 if self.send_queue.is_blocked else self._transport.send_batch(batch)
        if not size:
            return None
        if batch.deliveries[-1].cursor is not None:  # several copies of one event, with one cursor
            self._subscriptions.on_written(batch.deliveries[-1])
        self._stats.record_sent("Delivery", size, len(batch.deliveries))
        return True

    def on_catching_up(self, is_catching_up: bool) -> None:
        # A replay writes as fast as the peer reads: whatever the kernel holds back for a slow one stands before its
        # farewell.  All else comes in bursts, which are to find room.
        self._transport.limit_unsent(is_catching_up)

    async def wait_until_writable(self) -> None:
        while self.send_queue.is_blocked:  # another replay may have filled it since
            await self.send_queue.flushed()

    def deliver_replayed(self, delivery: Delivery) -> bool:
        if not self.close_if_expired():
            self.send(delivery)
        return self.farewell is None

    # Commands.

    async def _process_commands(self) -> None:
        self._processing = True
        try:
            while self._command_queue and not self.close_if_expired(began := self._clock.seconds()):
                if not self.turns.has_time(self.turn_key):  # one packet may hold thousands of commands
                    await self.turns.wait(
                        self.turn_key, "commands", first=self._command_queue.begins_with_large
                    )
                    continue
                command = self._command_queue.dequeue()  # may read on
                kind = type(command).__name__
                self._stats.record_command(kind)
                if self._publish_window.in_flight and kind != "Publish":
                    await self._dispatcher.flushed()  # so earlier publications are acknowledged earlier
                    if self.close_if_expired():
                        break
                try:
                    reply = await self._handle_command(command)
                except Exception as error:
                    reply = self._error_reply(command, error)
                self.send(reply)
                if kind == "Authenticate":
                    self._unanswered_logins -= 1
                    if not self._unanswered_logins:
                        self._read_throttle.resume(AUTHENTICATING)
                self._stats.record_command_duration(kind, self._clock.seconds() - began)
                del command, reply  # others may be served for long before; parsed, it has ten times its size
        finally:
            self._processing = False

    def _error_reply(self, command: Command, error: Exception) -> ErrorReply:
        """The reply where `error` is caught that `command` raised: a bug costs one command, never the connection."""
        if isinstance(error, Refusal):
            # Its traceback would hold frames, and they hold it: a million objects, in circles, of those who send
            # nonsense took 0.3 s to collect.
            refusal = error.with_traceback(None)
        else:
            self._log.failure("{command} broke", command=type(command).__name__, connection=self.id)
            refusal = InternalError()
        self._stats.record_refusal(refusal.name)
        meant = command.meant if isinstance(command, BadCommand) else None
        return ErrorReply(refusal, meant or type(command), command.ref)

    async def _handle_command(self, command: Command) -> Reply | None:
        if command.ref is not None:
            self.uses_extensions = True
        match command:
            case Publish() | Subscribe() | Unsubscribe():
                pass  # below: they need an identity
            case BadCommand(refusal=refusal):
                raise refusal
            case Authenticate(token=token, ref=ref):
                identity = await self._authenticate(token)
                if self.farewell:
                    return None
                self._stats.record_auth("success", again=self.identity is not None)
                self.identity = identity
                self.uses_extensions = self.uses_extensions or identity.grants is not None
                return Authenticated(identity.user_id, self.id, ref)
            case Ping(ref=ref, payload=payload):
                return Pong(ref, payload)
            case Pong():
                return None
            case EndOfInput(reason=reason):
                await self._publish_window.wait_until_below(1)
                await self.send_queue.flushed()
                self.close(reason)
                return None
        if self.identity is None:
            raise Unauthorized("Authentication required")
        if self._dispatcher.is_stale:
            await self._dispatcher.wait_until_current()
            if self.close_if_expired():
                return None
        match command:
            case Publish():
                if command.idempotency_key is not None:
                    self.uses_extensions = True
                if self._publish_window.in_flight >= self._limits.max_in_flight:
                    await self._publish_window.wait_until_below(self._limits.max_in_flight)
                if wait := self._publisher.limits.charge(self.identity):
                    await self.delay(wait)  # and all that came behind it
                if not self.close_if_expired():
                    self._publish_window.submit(
                        self.identity, command, self.send, self._error_reply, self._on_internal_error
                    )
                return None
            case Subscribe():
                await self._subscribe(self.identity, command)
                return None
            case Unsubscribe(pattern=pattern, ref=ref):
                return Unsubscribed(pattern, self._subscriptions.close(pattern), ref)
        raise AssertionError(command)

    async def _authenticate(self, token: str) -> Identity:
        """The identity that `token` proves; a later one of the same user extends the connection."""
        try:
            identity = await self._authenticator.authenticate(
                token, ClientInfo(self._stats.protocol, self._host)
            )
            if self.identity and identity.user_id != self.identity.user_id:
                raise Conflict("Already authenticated as another user")
        except Refusal as refusal:
            self._stats.record_auth(refusal.reason)
            raise
        return identity

    async def _subscribe(self, identity: Identity, command: Subscribe) -> None:
        if command.after is not None:
            self.uses_extensions = True
        subscribed = await self._subscriptions.open(identity, command)
        self.send(subscribed)
        if self.farewell:
            return
        if subscribed.recovered and command.after is not None:  # else it is catching up already
            replay = self._subscriptions.catch_up(subscribed.pattern)
            Deferred.fromCoroutine(replay).addErrback(self._on_replay_failed)

    def _on_replay_failed(self, failure: Failure) -> None:
        """The log can't be read any further: closing is better than a gap, for the client can resume."""
        if isinstance(failure.value, Refusal):
            self.close(
                CloseReason.SLOW_CONSUMER
                if isinstance(failure.value, ReplayPruned)
                else CloseReason.INTERNAL_ERROR
            )
        else:
            self._on_internal_error(failure)

    def close_if_expired(self, now: float | None = None) -> bool:
        """Whether the connection is closing; an expired token closes it here, not at the next tick.

        `now` is the clock's time, where the caller has just read it.
        """
        if not self.farewell and self.identity and (now or self._clock.seconds()) >= self.identity.deadline:
            self.close(CloseReason.TOKEN_EXPIRED)
        return self.farewell is not None

    def _on_internal_error(self, failure: Failure) -> None:
        self._log.failure("connection broke", failure=failure, connection=self.id)
        self.close(CloseReason.INTERNAL_ERROR)

    def send(self, reply: Reply | None) -> None:
        if not self.farewell and reply is not None and not self.send_queue.enqueue(reply):
            self._stats.record_slow_consumer()
            self.close(CloseReason.SLOW_CONSUMER)

    def _write(self, reply: Reply) -> None:
        if isinstance(reply, (Delivery, Subscribed, CaughtUp)):
            self._subscriptions.on_written(reply)
        size = self._transport.send(reply)
        if size:
            self._stats.record_sent(type(reply).__name__, size)
