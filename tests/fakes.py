"""Small real things to test against, kept out of the package."""

from __future__ import annotations

import itertools
from typing import Any, Callable

from attrs import Factory, define, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from multiproto import jsontext
from multiproto.broker.memory import MemoryBroker
from multiproto.core.audience import Audience
from multiproto.core.errors import Unauthorized
from multiproto.core.hub import Hub, Line
from multiproto.core.limits import Limits
from multiproto.core.ports import Identity
from multiproto.core.publishing import Publisher
from multiproto.core.wire import Farewell, Reply
from multiproto.observe.traffic import Traffic


@define
class Tokens:
    """A gate that knows who "token-<name>" is; `slow` holds its answers back."""

    slow: bool = False
    until: float = 1000.0  # seconds
    waiting: list[tuple[str, Deferred[Identity]]] = Factory(list)

    async def identify(self, token: str) -> Identity:
        if not token.startswith("token-"):
            raise Unauthorized("Invalid token")
        if self.slow:
            answer: Deferred[Identity] = Deferred()
            self.waiting.append((token, answer))
            return await answer
        return await succeed(self._identity(token))

    def answer(self) -> None:
        """Let go of the first answer held back."""
        token, answer = self.waiting.pop(0)
        answer.callback(self._identity(token))

    def _identity(self, token: str) -> Identity:
        name = token[len("token-") :]
        return Identity(name, f"session-{name}", self.until)


@define
class RecordingPeer:
    """A wire that keeps what it was told, in order."""

    said: list[Reply | Farewell | str] = Factory(list)
    weight: int = 1  # bytes of each reply

    def send(self, reply: Reply) -> int:
        self.said.append(reply)
        return self.weight

    def size(self, reply: Reply) -> int:
        return self.weight

    def close(self, why: Farewell) -> None:
        self.said.append(why)

    def abort(self) -> None:
        self.said.append("abort")

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")


def ids(prefix: str) -> Callable[[], str]:
    """prefix1, prefix2, …"""
    return (f"{prefix}{n}" for n in itertools.count(1)).__next__


@frozen
class House:
    """The core of a server in memory: no store, no ports, the clock in the test's hand."""

    clock: Any
    gate: Tokens
    audience: Audience
    publisher: Publisher
    hub: Hub

    def line(self, name: str = "tcp", limits: Limits = Limits(), **capacity: int) -> Line:
        return Line(limits, Traffic(name), **capacity)


def house(clock: IReactorTime) -> House:
    """A running `House`; its ids are id1, id2, … in order of need."""
    gate, audience = Tokens(), Audience()
    new_id = ids("id")
    publisher = Publisher(
        MemoryBroker(audience), clock.seconds, new_id, lambda value: len(jsontext.dumps(value))
    )
    hub = Hub(gate, audience, publisher, clock, new_id)
    hub.startService()
    return House(clock, gate, audience, publisher, hub)
