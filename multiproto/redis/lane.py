"""The live lane between instances: what is published here is told here at once, and through Redis elsewhere.

All goes over one channel.  That the way through Redis works is not assumed but
tried: a probe goes round every second, since a subscription can be dead behind
a connection that lives.  While it does not come back the lane is an
instance's own, and says so (`scope`).
"""

from __future__ import annotations

import secrets
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError

from ..core.audience import Audience
from ..core.ports import Publication
from .address import Address
from .codec import Key, Malformed, decode, encode, row
from .connection import Commands, Connection, Subscriber

EVERY = 1.0  # seconds between probes; one that takes longer has failed
START_WITHIN = 2.0  # seconds that a start waits for the first one
MOST_UNDER_WAY = 8 << 20  # bytes that Redis has not answered yet; beyond, nothing more is said
MESSAGE = 256 << 10  # bytes of publications in one message, but for what the last one has beyond
TURN = 0.01  # seconds of telling what others said, before the reactor has its turn
INSTANCES = 1000  # whose numbers are remembered


class Observed(Protocol):
    """Told of what metrics show."""

    def dropped(self) -> None:
        """A publication was not said to other instances."""

    def malformed(self) -> None:
        """Something on our channel was not ours."""

    def probed(self, seconds: float) -> None:
        """A probe came back after so long."""


@define(eq=False, repr=False)
class RedisLane(Service):
    """`core.ports.Broker` for many instances."""

    _address: Address
    _prefix: str  # of channels
    _key: Key
    _audience: Audience
    _reactor: Any
    _observed: Observed
    _instance: str = field(factory=lambda: secrets.token_hex(8))
    up: bool = field(default=False, init=False)  # the last probe came back
    _number: int = field(default=0, init=False)
    _numbers: dict[str, int] = field(factory=dict, init=False)  # the last one of each other instance
    _rows: list[bytes] = field(factory=list, init=False)  # to be said at the end of this turn
    _saying: IDelayedCall | None = field(default=None, init=False)  # that end
    _told: deque[Publication] = field(factory=deque, init=False)  # by others, to be heard here
    _telling: IDelayedCall | None = field(
        default=None, init=False
    )  # in a later turn; we read no more till then
    _under_way: int = field(default=0, init=False)  # bytes
    _probe: tuple[bytes, float] | None = field(
        default=None, init=False
    )  # what was sent when, and is not back
    _next: IDelayedCall | None = field(default=None, init=False)  # probe, or the end of waiting for this one
    _refusal: str = field(default="", init=False)  # Redis's answer to the last one
    _first: Deferred[None] = field(factory=Deferred, init=False)
    _commands: Connection = field(init=False)
    _subscriber: Connection = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._commands = Connection(self._address, Commands, self._reactor, changed=self._look)
        self._subscriber = Connection(
            self._address, lambda: Subscriber(self._heard), self._reactor, self._subscribe, self._look
        )

    @property
    def scope(self) -> str | None:
        """ "instance" while only those who listen here hear what is published here."""
        return None if self.up else "instance"

    @property
    def connections(self) -> int:
        return sum(each.protocol is not None for each in (self._commands, self._subscriber))

    def publish(self, publication: Publication) -> Deferred[None]:
        """Never fails: the live lane is at most once, and those who listen here need no Redis."""
        told = self._audience.tell(publication) or succeed(None)
        if not self.running or self._commands.protocol is None or self._under_way > MOST_UNDER_WAY:
            self._observed.dropped()
            return told
        if self._saying is None:
            self._saying = self._reactor.callLater(0, self._say)
        said = row(publication)
        self._rows.append(said)
        self._under_way += len(said)
        return told

    # The service.

    def startService(self) -> Deferred[None]:
        """Fires once the lane is up, or after `START_WITHIN` seconds without that: it comes up by itself."""
        super().startService()
        self._commands.start()
        self._subscriber.start()
        waited = self._first.addTimeout(START_WITHIN, self._reactor)
        waited.addErrback(lambda late: self._log.error("{why}", why=self._why()))
        return waited

    async def health(self) -> None:
        """For a health check.  Raises when the lane is down."""
        if not self.up:
            raise ConnectionError(self._why())

    def stopService(self) -> Deferred[Any]:
        """Fires when what was published has been said, if Redis takes it, and both connections are closed."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        self._await(None)
        if self._saying is not None:
            self._saying.cancel()
            self._say()
        if self._commands.protocol is not None:
            with suppress(RedisError):
                await self._commands.protocol.ping()  # answered behind all that was said before
        self.up = False
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._told.clear()
        if not self._first.called:
            self._first.callback(None)
        stopping = (each.stop() for each in (self._commands, self._subscriber))
        await gatherResults([each for each in stopping if each is not None])

    # Saying.

    def _say(self) -> None:
        rows, self._rows, self._saying = self._rows, [], None
        while rows:
            size = count = 0
            while count < len(rows) and size < MESSAGE:
                size += len(rows[count])
                count += 1
            self._send(rows[:count], size)
            rows = rows[count:]

    def _send(self, rows: list[bytes], size: int) -> None:
        protocol = self._commands.protocol
        if protocol is None:
            self._answered(Failure(ConnectionError()), rows, size)
            return
        self._number += 1
        message = encode(self._key, self._instance, self._number, rows)
        answered = protocol.execute_command("PUBLISH", self._live, message)
        answered.addBoth(self._answered, rows, size)

    def _answered(self, result: object, rows: list[bytes], size: int) -> None:
        """A failing Redis is found out by the probe; here is only counted what it cost."""
        self._under_way -= size
        if isinstance(result, Failure):
            for _ in rows:
                self._observed.dropped()

    # Hearing.

    @property
    def _live(self) -> bytes:
        return f"{self._prefix}live".encode()

    @property
    def _own(self) -> bytes:
        return f"{self._prefix}probe:{self._instance}".encode()

    async def _subscribe(self, subscriber: Any) -> None:
        await subscriber.subscribe([self._live, self._own])

    def _heard(self, channel: bytes, message: bytes) -> None:
        if channel == self._own:
            self._probed(message)
            return
        try:
            told = decode(self._key, message, self._instance)
        except Malformed as malformed:
            self._observed.malformed()
            self._log.debug("a message in Redis is {why}", why=str(malformed))
            return
        if told is None or told.number <= self._numbers.get(told.instance, 0):
            return  # our own, or heard before
        self._numbers.pop(told.instance, None)
        self._numbers[told.instance] = told.number
        if len(self._numbers) > INSTANCES:
            del self._numbers[next(iter(self._numbers))]
        self._told += told.publications
        if self._telling is None:
            self._tell()

    def _tell(self) -> None:
        """As much as one turn has time for; until the rest is told, no more is read."""
        self._telling, end = None, self._reactor.seconds() + TURN
        while self._told:
            self._audience.tell_now([self._told.popleft()])
            if self._told and self._reactor.seconds() >= end:
                self._telling = self._reactor.callLater(0, self._tell)
                break
        if self._subscriber.protocol is not None:
            transport = self._subscriber.protocol.transport
            transport.pauseProducing() if self._told else transport.resumeProducing()

    # Probing.

    def _look(self) -> None:
        """A connection came or went."""
        self._await(None)
        if self.connections == 2 and self.running:
            self._ask()
        else:
            self._down()

    def _await(self, then: Callable[[], object] | None) -> None:
        """Do `then` in so many seconds, and nothing else that was to be done."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._probe = None
        self._next = None if then is None else self._reactor.callLater(EVERY, then)

    def _ask(self) -> None:
        self._await(self._unheard)
        self._probe = secrets.token_bytes(16), self._reactor.seconds()
        asked = self._commands.protocol.execute_command("PUBLISH", self._own, self._probe[0])
        asked.addCallbacks(
            lambda heard: self._note(""), lambda failure: self._note(failure.getErrorMessage())
        )

    def _note(self, refusal: str) -> None:
        self._refusal = refusal

    def _unheard(self) -> None:
        if self._told:  # what is behind is this instance: the probe may be among what it has not read
            self._next = self._reactor.callLater(EVERY, self._unheard)
            return
        self._await(None)
        self._down()
        self._commands.drop()
        self._subscriber.drop()

    def _probed(self, message: bytes) -> None:
        if self._probe is None or message != self._probe[0]:
            return
        self._observed.probed(self._reactor.seconds() - self._probe[1])
        self._await(self._ask)
        if not self.up:
            self.up = True
            self._log.info("live topics reach all instances through {address}", address=str(self._address))
        if not self._first.called:
            self._first.callback(None)

    def _down(self) -> None:
        if self.up:
            self.up = False
            self._log.error("{why}", why=self._why())

    def _why(self) -> str:
        """What the operator should know."""
        lost = [each.why for each in (self._commands, self._subscriber) if each.protocol is None]
        why = lost[0] if lost else self._refusal or "what is published does not come back"
        return f"live topics reach only this instance, Redis at {self._address} is of no use: {why}"
