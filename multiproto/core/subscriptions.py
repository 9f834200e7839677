"""What one session listens to: patterns, within its rights and its limit, from where it left off."""

from __future__ import annotations

from typing import Callable, Protocol

from attrs import Factory, define

from ..observe.traffic import Traffic
from .audience import Audience, as_heard
from .errors import Conflict, RateLimited
from .history import History
from .limits import Limits
from .ports import Entry, Identity, Listener
from .publishing import Publisher
from .topics import check_pattern, overlap
from .wire import CaughtUp, Delivery, Subscribe, Subscribed

HANDFUL = 32  # entries sent between two looks at who else wants the reactor


class Owner(Listener, Protocol):
    """The session, as far as its subscriptions need it."""

    @property
    def identity(self) -> Identity | None: ...

    async def ready(self) -> None:
        """Return once the transport takes more."""

    def replay(self, delivery: Delivery) -> bool:
        """Send `delivery`; False when the session is over."""

    def send(self, reply: CaughtUp) -> None: ...


Place = tuple[int, str]  # a position and its cursor


@define(eq=False)
class _Subscription:
    began: int  # where the log stood when it was opened: what was told before is the past
    position: int | None = None  # up to which it was replayed; `None`: it hears what happens
    written: Place | None = None  # up to which its peer has it, as long as it catches up


@define(eq=False, repr=False)
class Subscriptions:
    _owner: Owner
    _audience: Audience
    _history: History
    _traffic: Traffic
    _limits: Limits
    _new_id: Callable[[], str]
    _publisher: Publisher
    _patterns: dict[str, _Subscription] = Factory(dict)
    _written: Place | None = None  # up to which the peer has all that those who do not catch up heard

    async def open(self, who: Identity, wanted: Subscribe) -> Subscribed:
        """Raises `Invalid`, `Forbidden`, `Conflict`, or `RateLimited` for one too many.

        A subscription that resumes hears nothing before `follow`.
        """
        pattern = check_pattern(wanted.pattern)
        self._publisher.policy.check_subscribe(who, pattern, history=wanted.after is not None)
        if pattern in self._patterns:
            raise Conflict(f"Already subscribed: {pattern}")
        if len(self._patterns) >= self._limits.subscriptions:
            raise RateLimited(f"At most {self._limits.subscriptions} subscriptions")
        subscription = self._patterns[pattern] = _Subscription(self._audience.position)
        self._traffic.subscribed()
        if not self._history.keeps(pattern):
            self._audience.add(pattern, self._owner)
            return Subscribed(pattern, self._new_id(), "live", ref=wanted.ref, scope=self._publisher.scope)
        recovered = None
        if wanted.after is not None:
            try:
                subscription.position = await self._history.locate(pattern, wanted.after)
            except BaseException:
                self.close(pattern)
                raise
            recovered = subscription.position is not None
        if not recovered and self._patterns.get(pattern) is subscription:
            self._audience.add(pattern, self._owner)
        cursor = wanted.after if recovered else self._audience.cursor
        position = subscription.position if recovered else self._audience.position
        return Subscribed(pattern, self._new_id(), "log", cursor, recovered, wanted.ref, position or 0)

    async def follow(self, pattern: str) -> None:
        """Replay what a resumed subscription has missed, then join what happens without a hole."""
        subscription = self._patterns.get(pattern)
        while subscription is not None and subscription.position is not None:
            if not await self._advance(pattern, subscription, subscription.position):
                return
            if subscription.position == self._audience.position:
                # Nothing happens between this look and the next line.
                subscription.position = None
                self._audience.add(pattern, self._owner)
                self._owner.send(CaughtUp(pattern, self._audience.cursor, position=self._audience.position))

    async def _advance(self, pattern: str, subscription: _Subscription, position: int) -> bool:
        """Replay one page more; False when nobody wants it any more."""
        if position >= self._audience.position:
            await self._audience.reached(position)
            return self._patterns.get(pattern) is subscription
        page = await self._history.page(pattern, position, self._audience.position)
        for number, entry in enumerate(page.entries):
            if number % HANDFUL == 0:
                await self._history.turn()
            await self._owner.ready()
            who = self._owner.identity
            if self._patterns.get(pattern) is not subscription or who is None:
                return False
            delivery = self._heard(entry, pattern, who, entry.position <= subscription.began)
            if delivery is not None and not self._owner.replay(delivery):
                return False
        subscription.position = page.upto
        return self._patterns.get(pattern) is subscription

    def _heard(self, entry: Entry, pattern: str, who: Identity, past: bool) -> Delivery | None:
        """`entry` on the first of its topics that is covered and may be told again, marked as replayed."""
        policy = self._publisher.policy
        may = policy.may_replay if past else policy.may_read
        for topic in entry.event.topics:
            if overlap(pattern, topic) and may(who, topic):
                return as_heard(entry, topic, pattern)
        return None

    def written(self, reply: Delivery | Subscribed | CaughtUp) -> None:
        """`reply` left the outbox, and with it all that was put there before."""
        if reply.cursor is None:
            return
        place = reply.position, reply.cursor
        resumes = isinstance(reply, Subscribed) and reply.recovered is True
        pattern = reply.replay if isinstance(reply, Delivery) else reply.pattern
        subscription = self._patterns.get(pattern) if pattern is not None else None
        if subscription is not None:
            subscription.written = place if resumes or isinstance(reply, Delivery) else None
        # Where a subscription resumes may be ahead of what the others have heard; all else is not.
        if not resumes and (self._written is None or place > self._written):
            self._written = place

    def lowest(self) -> str | None:
        """The cursor from which nothing is missed on any pattern."""
        places = [each.written for each in self._patterns.values()] + [self._written]
        return min((place for place in places if place is not None), default=(0, None))[1]

    def close(self, pattern: str) -> bool:
        """Whether there was anything to close."""
        if pattern not in self._patterns:
            return False
        del self._patterns[pattern]
        self._audience.remove(pattern, self._owner)
        self._traffic.unsubscribed()
        return True

    def close_all(self) -> None:
        for pattern in list(self._patterns):
            self.close(pattern)
