"""Small real things to test against, kept out of the package."""

from __future__ import annotations

import itertools
import os
from typing import Any, Callable, Iterable

from attrs import Factory, define, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from multiproto import jsontext
from multiproto.auth.credentials import Mint
from multiproto.broker.follower import Follower
from multiproto.broker.memory import MemoryBroker
from multiproto.core.accounts import Accounts
from multiproto.core.attempts import Attempts
from multiproto.core.audience import Audience
from multiproto.core.audit import Audit
from multiproto.core.errors import Unauthorized, Unavailable
from multiproto.core.events import Events
from multiproto.core.history import History
from multiproto.core.hub import Hub, Line
from multiproto.core.keyring import Keyring
from multiproto.core.limits import Limits
from multiproto.core.model import timestamp
from multiproto.core.namespaces import MESSAGES, USERS, Namespace, Namespaces
from multiproto.core.policy import Policy
from multiproto.core.ports import Entry, Event, Identity, Page, Unit
from multiproto.core.publishing import Publisher
from multiproto.core.sends import Sends
from multiproto.core.sessions import Sessions
from multiproto.core.trail import Trail
from multiproto.core.wire import Burst, Farewell, Reply
from multiproto.observe.traffic import Traffic

# The rooms' tests run with the fast paths or, to compare, without: MULTIPROTO_FAST_PATHS=false make check
FAST = os.environ.get("MULTIPROTO_FAST_PATHS", "true") == "true"


@define
class Tokens:
    """A gate that knows who "token-<name>" is; `slow` holds its answers back."""

    slow: bool = False
    until: float = 1000.0  # seconds
    waiting: list[tuple[str, Deferred[Identity]]] = Factory(list)
    known: dict[str, Identity] = Factory(dict)  # by name: those who are more than a name

    async def identify(self, token: str, host: str = "") -> Identity:
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
        return self.known.get(name) or Identity(name, f"session-{name}", self.until)


@define(eq=False)
class Notes:
    """A log in memory, whose cursors are cursor1, cursor2, …; `slow` holds its answers back, `away` fails them."""

    entries: list[Entry] = Factory(list)
    floor: int = 0
    slow: bool = False
    away: bool = False
    waiting: list[Deferred[None]] = Factory(list)
    reads: int = 0
    on_commit: Callable[[], object] = lambda: None

    def write(self, count: int = 1, *topics: str, content: object = None, type: str = "user.created") -> None:
        """`count` entries on `topics`; each tells its number unless there is something else to tell."""
        for _ in range(count):
            position = len(self.entries) + 1
            told = {"n": position} if content is None else content
            event = Event(f"e{position}", type, topics or ("users",), told, "u", timestamp(5), USERS)
            self.entries.append(Entry(position, f"cursor{position}", event))

    async def commit(self, unit: Unit) -> str:
        for event in unit.events:
            position = len(self.entries) + 1
            self.entries.append(Entry(position, f"cursor{position}", event))
        await self._answer()
        self.on_commit()
        return self.cursor_of(len(self.entries))

    async def head(self) -> tuple[int, str]:
        return len(self.entries), self.cursor_of(len(self.entries))

    async def after(self, position: int, limit: int) -> tuple[Entry, ...]:
        self.reads += 1
        page = tuple(self.entries[position : position + limit])
        await self._answer()
        return page

    async def page(self, lead: str, low: int, high: int) -> Page:
        self.reads += 1
        found = tuple(
            entry
            for entry in self.entries[low:high]
            if not entry.blank and any(topic.startswith(lead) for topic in entry.event.topics)
        )
        await self._answer()
        return Page(found, high, await self.floors())

    async def locate(self, cursor: str) -> int | None:
        await self._answer()
        number = cursor.removeprefix("cursor")
        return int(number) if number.isdigit() and int(number) <= len(self.entries) else None

    async def floors(self) -> dict[str, int]:
        return {USERS: self.floor, MESSAGES: self.floor}

    def cursor_of(self, position: int) -> str:
        return f"cursor{position}"

    def answer(self) -> None:
        """Let go of the answers held back so far."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(None)

    async def _answer(self) -> None:
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if self.away:
            raise Unavailable("the database is away")


@define
class RecordingPeer:
    """A wire that keeps what it was told, in order."""

    said: list[Reply | Farewell | str] = Factory(list)
    weight: int = 1  # bytes of each reply

    def send(self, reply: Reply) -> int:
        self.said.append(reply)
        return self.weight

    def send_all(self, burst: Burst) -> int:
        return 0

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


@frozen
class Members:
    """All that there is to accounts and their sessions."""

    audit: Audit
    attempts: Attempts
    sessions: Sessions
    accounts: Accounts
    keyring: Keyring
    trail: Trail


def members(
    store: Any,
    passwords: Any,
    tokens: Any,
    clock: Any,
    now: Callable[[], float],
    new_id: Callable[[], str],
    lifetime: float = 7 * 86400.0,
    operators: Iterable[str] = (),
    dropped: Callable[[int], object] = lambda count: None,
) -> Members:
    """The test starts `attempts`, if it needs them written."""
    audit, events = Audit(now, new_id), Events(new_id)
    attempts = Attempts(store, audit, clock, dropped)
    sessions = Sessions(store, passwords, tokens, events, audit, attempts, now, new_id, lifetime)
    accounts = Accounts(store, passwords, sessions, events, audit, now, new_id)
    keyring = Keyring(store, Mint(), events, audit, now, new_id)
    trail = Trail(store, frozenset(operators), jsontext.loads)
    return Members(audit, attempts, sessions, accounts, keyring, trail)


def ids(prefix: str) -> Callable[[], str]:
    """prefix1, prefix2, …"""
    return (f"{prefix}{n}" for n in itertools.count(1)).__next__


@frozen
class House:
    """The core of a server in memory: no store, no ports, the clock in the test's hand."""

    clock: Any
    gate: Tokens
    notes: Notes
    follower: Follower
    audience: Audience
    publisher: Publisher
    hub: Hub

    def line(self, name: str = "tcp", limits: Limits = Limits(), **capacity: int) -> Line:
        return Line(limits, Traffic(name), **capacity)


def house(clock: IReactorTime, *logged: str, policy: Policy = Policy()) -> House:
    """A running `House`; its ids are id1, id2, … in order of need.

    The log keeps `logged` patterns besides the server's own; the test starts the follower, if it needs it.
    """
    gate, audience = Tokens(), Audience()
    new_id = ids("id")
    namespaces = Namespaces.including(map(Namespace, logged))
    notes = Notes()
    sends = Sends(notes, clock.seconds)
    publisher = Publisher(
        policy, MemoryBroker(audience), sends, namespaces, clock.seconds, new_id, jsontext.dumps
    )
    history = History(notes, audience, namespaces, clock)
    hub = Hub(gate, audience, history, publisher, clock, new_id)
    hub.startService()
    follower = Follower(notes, audience, clock)
    notes.on_commit = follower.wake
    return House(clock, gate, notes, follower, audience, publisher, hub)
