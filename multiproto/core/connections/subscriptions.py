"""What one session listens to: patterns, within its rights and its limit, from where it left off."""

from __future__ import annotations

from typing import Callable, Protocol

from attrs import Factory, define

from ...observe.protocol_stats import ProtocolStats
from ..errors import Conflict, RateLimited
from ..identity import Identity
from ..ports import DeliveryListener
from ..protocol import CaughtUp, Delivery, Subscribe, Subscribed
from ..pubsub.dispatcher import Dispatcher, delivery_of
from ..pubsub.publisher import Publisher
from ..pubsub.replay import ReplayReader
from ..pubsub.topics import check_pattern, overlaps
from ..transactions import Entry
from .admission import ConnectionLimits

REPLAY_CHUNK = 32  # entries sent between two looks at who else wants the reactor


class SubscriptionOwner(DeliveryListener, Protocol):
    """The session, as far as its subscriptions need it."""

    @property
    def identity(self) -> Identity | None: ...

    async def wait_until_writable(self) -> None:
        """Return once the transport takes more."""

    def deliver_replayed(self, delivery: Delivery) -> bool:
        """Send `delivery`; False when the session is over."""

    def send(self, reply: CaughtUp) -> None: ...


ResumePoint = tuple[int, str]  # a position and its cursor


@define(eq=False)
class _Subscription:
    start_position: int  # where the log stood when it was opened: what was told before is the past
    replayed_to: int | None = None  # up to which it was replayed; `None`: it hears what happens
    resume_point: ResumePoint | None = None  # up to which its peer has it, as long as it catches up


@define(eq=False, repr=False)
class ConnectionSubscriptions:
    _owner: SubscriptionOwner
    _dispatcher: Dispatcher
    _replay_reader: ReplayReader
    _stats: ProtocolStats
    _limits: ConnectionLimits
    _new_id: Callable[[], str]
    _publisher: Publisher
    _by_pattern: dict[str, _Subscription] = Factory(dict)
    _live_resume_point: ResumePoint | None = (
        None  # up to which the peer has all that those who do not catch up heard
    )

    async def open(self, who: Identity, wanted: Subscribe) -> Subscribed:
        """Raises `Invalid`, `Forbidden`, `Conflict`, or `RateLimited` for one too many.

        A subscription that resumes hears nothing before `catch_up`.
        """
        pattern = check_pattern(wanted.pattern)
        self._publisher.policy.authorize_subscribe(who, pattern, history=wanted.after is not None)
        if pattern in self._by_pattern:
            raise Conflict(f"Already subscribed: {pattern}")
        if len(self._by_pattern) >= self._limits.max_subscriptions:
            raise RateLimited(f"At most {self._limits.max_subscriptions} subscriptions")
        subscription = self._by_pattern[pattern] = _Subscription(self._dispatcher.position)
        self._stats.record_subscribed()
        if not self._replay_reader.is_logged(pattern):
            self._dispatcher.subscribe(pattern, self._owner)
            return Subscribed(pattern, self._new_id(), "live", ref=wanted.ref, scope=self._publisher.scope)
        recovered = None
        if wanted.after is not None:
            try:
                subscription.replayed_to = await self._replay_reader.locate(pattern, wanted.after)
            except BaseException:
                self.close(pattern)
                raise
            recovered = subscription.replayed_to is not None
        if not recovered and self._by_pattern.get(pattern) is subscription:
            self._dispatcher.subscribe(pattern, self._owner)
        cursor = wanted.after if recovered else self._dispatcher.cursor
        position = subscription.replayed_to if recovered else self._dispatcher.position
        return Subscribed(pattern, self._new_id(), "log", cursor, recovered, wanted.ref, position or 0)

    async def catch_up(self, pattern: str) -> None:
        """Replay what a resumed subscription has missed, then join what happens without a hole."""
        subscription = self._by_pattern.get(pattern)
        while subscription is not None and subscription.replayed_to is not None:
            if not await self._replay_page(pattern, subscription, subscription.replayed_to):
                return
            if subscription.replayed_to == self._dispatcher.position:
                # Nothing happens between this look and the next line.
                subscription.replayed_to = None
                self._dispatcher.subscribe(pattern, self._owner)
                self._owner.send(
                    CaughtUp(pattern, self._dispatcher.cursor, position=self._dispatcher.position)
                )

    async def _replay_page(self, pattern: str, subscription: _Subscription, position: int) -> bool:
        """Replay one page more; False when nobody wants it any more."""
        if position >= self._dispatcher.position:
            await self._dispatcher.wait_for(position)
            return self._by_pattern.get(pattern) is subscription
        page = await self._replay_reader.read_page(pattern, position, self._dispatcher.position)
        for number, entry in enumerate(page.entries):
            if number % REPLAY_CHUNK == 0:
                await self._replay_reader.wait_for_turn()
            await self._owner.wait_until_writable()
            who = self._owner.identity
            if self._by_pattern.get(pattern) is not subscription or who is None:
                return False
            delivery = self._replayed_delivery(
                entry, pattern, who, entry.position <= subscription.start_position
            )
            if delivery is not None and not self._owner.deliver_replayed(delivery):
                return False
        subscription.replayed_to = page.end_position
        return self._by_pattern.get(pattern) is subscription

    def _replayed_delivery(self, entry: Entry, pattern: str, who: Identity, past: bool) -> Delivery | None:
        """`entry` on the first of its topics that is covered and may be told again, marked as replayed."""
        policy = self._publisher.policy
        may = policy.may_replay if past else policy.may_read
        for topic in entry.event.topics:
            if overlaps(pattern, topic) and may(who, topic):
                return delivery_of(entry, topic, pattern)
        return None

    def on_written(self, reply: Delivery | Subscribed | CaughtUp) -> None:
        """`reply` left the outbox, and with it all that was put there before."""
        if reply.cursor is None:
            return
        place = reply.position, reply.cursor
        resumes = isinstance(reply, Subscribed) and reply.recovered is True
        pattern = reply.replay_pattern if isinstance(reply, Delivery) else reply.pattern
        subscription = self._by_pattern.get(pattern) if pattern is not None else None
        if subscription is not None:
            subscription.resume_point = place if resumes or isinstance(reply, Delivery) else None
        # Where a subscription resumes may be ahead of what the others have heard; all else is not.
        if not resumes and (self._live_resume_point is None or place > self._live_resume_point):
            self._live_resume_point = place

    def resume_cursor(self) -> str | None:
        """The cursor from which nothing is missed on any pattern."""
        places = [each.resume_point for each in self._by_pattern.values()] + [self._live_resume_point]
        return min((place for place in places if place is not None), default=(0, None))[1]

    def close(self, pattern: str) -> bool:
        """Whether there was anything to close."""
        if pattern not in self._by_pattern:
            return False
        del self._by_pattern[pattern]
        self._dispatcher.unsubscribe(pattern, self._owner)
        self._stats.record_unsubscribed()
        return True

    def close_all(self) -> None:
        for pattern in list(self._by_pattern):
            self.close(pattern)
