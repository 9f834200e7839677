"""The live lane between instances: what is published here is told here at once, and through Redis elsewhere.

All goes over one channel.  That the way through Redis works is not assumed but
tried: a probe goes round every second, since a subscription can be dead behind
a connection that lives.  While it does not come back the lane is an
instance's own, and says so (`scope`).
"""

from __future__ import annotations

import secrets
from typing import Any, Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..core.audience import Audience
from ..core.ports import Publication
from .address import Address
from .codec import Key, Malformed, decode, encode, row
from .connection import Commands, Connection, Subscriber

EVERY = 1.0  # seconds between probes; one that takes longer has failed
START_WITHIN = 2.0  # seconds that a start waits for the first one
MOST_UNDER_WAY = 8 << 20  # bytes that Redis has not answered yet; beyond, nothing more is said
MESSAGE = 256 << 10  # bytes of publications in one message, but for what the last one has beyond
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
    _under_way: int = field(default=0, init=False)  # bytes
    _probe: tuple[bytes, float] | None = field(
        default=None, init=False
    )  # what was sent when, and is not back
    _first: Deferred[None] = field(factory=Deferred, init=False)
    _ticking: LoopingCall = field(init=False)
    _commands: Connection = field(init=False)
    _subscriber: Connection = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._commands = Connection(self._address, Commands, self._reactor, changed=self._look)
        self._subscriber = Connection(
            self._address, lambda: Subscriber(self._heard), self._reactor, self._subscribe, self._look
        )
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = self._reactor

    @property
    def scope(self) -> str | None:
        """ "instance" while only those who listen here hear what is published here."""
        return None if self.up else "instance"

    @property
    def connections(self) -> int:
        return sum(each.protocol is not None for each in (self._commands, self._subscriber))

    def publish(self, publication: Publication) -> Deferred[None]:
        """Never fails: the live lane is at most once, and those who listen here need no Redis."""
        self._audience.tell(publication)
        if self._commands.protocol is None or self._under_way > MOST_UNDER_WAY:
            self._observed.dropped()
            return succeed(None)
        if not self._rows:
            self._reactor.callLater(0, self._say)
        said = row(publication)
        self._rows.append(said)
        self._under_way += len(said)
        return succeed(None)

    # The service.

    def startService(self) -> Deferred[None]:
        """Fires once the lane is up, or after `START_WITHIN` seconds without that: it comes up by itself."""
        super().startService()
        self._commands.start()
        self._subscriber.start()
        self._ticking.start(EVERY, now=False)
        waited = self._first.addTimeout(START_WITHIN, self._reactor)
        waited.addErrback(lambda late: self._log.error("{why}", why=self._why()))
        return waited

    async def health(self) -> None:
        """For a health check.  Raises when the lane is down."""
        if not self.up:
            raise ConnectionError(self._why())

    def stopService(self) -> Deferred[Any]:
        """Fires when both connections are closed."""
        super().stopService()
        self._ticking.stop()
        self._say()
        self.up = False
        stopping = (each.stop() for each in (self._commands, self._subscriber))
        return gatherResults([each for each in stopping if each is not None])

    # Saying.

    def _say(self) -> None:
        rows, self._rows = self._rows, []
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
            self._under_way -= size
            return
        self._number += 1
        message = encode(self._key, self._instance, self._number, rows)
        answered = protocol.execute_command("PUBLISH", self._live, message, apply_timeout=False)
        answered.addBoth(self._answered, size)

    def _answered(self, result: object, size: int) -> None:
        """Whether it was taken makes no difference: a failing Redis is found out by the probe."""
        self._under_way -= size

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
            told = decode(self._key, message)
        except Malformed as malformed:
            self._observed.malformed()
            self._log.debug("a message in Redis is {why}", why=str(malformed))
            return
        if told.instance == self._instance or told.number <= self._numbers.get(told.instance, 0):
            return  # our own, or heard before
        self._numbers.pop(told.instance, None)
        self._numbers[told.instance] = told.number
        if len(self._numbers) > INSTANCES:
            del self._numbers[next(iter(self._numbers))]
        for publication in told.publications:
            self._audience.tell(publication)

    # Probing.

    def _look(self) -> None:
        """A connection came or went."""
        if self.connections == 2 and self.running:
            self._ask()
        else:
            self._probe = None
            self._down()

    def _tick(self) -> None:
        if self._probe is not None:
            self._down()
            self._commands.drop()
            self._subscriber.drop()
        elif self.connections == 2:
            self._ask()

    def _ask(self) -> None:
        self._probe = secrets.token_bytes(16), self._reactor.seconds()
        asked = self._commands.protocol.execute_command("PUBLISH", self._own, self._probe[0])
        asked.addErrback(lambda lost: None)

    def _probed(self, message: bytes) -> None:
        if self._probe is None or message != self._probe[0]:
            return
        self._observed.probed(self._reactor.seconds() - self._probe[1])
        self._probe = None
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
        why = lost[0] if lost else "what is published does not come back"
        return f"live topics reach only this instance, Redis at {self._address} is of no use: {why}"
