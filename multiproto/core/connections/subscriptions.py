"""The subscriptions of one connection: authorized, limited in number, and resumed from a cursor."""

from __future__ import annotations

from typing import Callable, Protocol

from attrs import Factory, define

from ...observe.protocol_stats import ProtocolStats
from ..errors import Conflict, RateLimited
from ..events import has_events, required_topic
from ..identity import Identity
from ..ports import DeliveryListener
from ..protocol import CaughtUp, Delivery, Ref, Subscribe, Subscribed
from ..pubsub.dispatcher import Dispatcher, delivery_of
from ..pubsub.publisher import Publisher
from ..pubsub.replay import INCLUDED, ReplayReader
from ..pubsub.topics import check_pattern, overlaps
from ..transactions import Entry
from .admission import ConnectionLimits

REPLAY_CHUNK = 32  # entries that are replayed in one turn of the reactor


class SubscriptionOwner(DeliveryListener, Protocol):
    """The connection, as far as its subscriptions need it."""

    @property
    def identity(self) -> Identity | None: ...

    def on_catching_up(self, is_catching_up: bool) -> None:
        """Called before the first of its replays begins, and when none is left."""

    async def wait_until_writable(self) -> None:
        """Return once the send queue is empty."""

    def deliver_replayed(self, delivery: Delivery) -> bool:
        """Send `delivery`; False when the connection is closing."""

    def send(self, reply: CaughtUp) -> None: ...


NOTHING_TO_HEAR = (
    "Nothing is ever published on a topic that this covers: the server's topics are users, users.<id>, messages,"
    " messages.user.<id> and messages.channel.<channel>, where the channel's id is one word (docs/common.md#events)"
)


MQTT_WILDCARDS = (
    "+ and # are no wildcards here, but characters of a word: * is one word, ** any number of words, and words are joined"
    " by dots (docs/common.md#topics-and-patterns)"
)


def _warning_for(pattern: str) -> str | None:
    if not has_events(pattern):
        return NOTHING_TO_HEAR
    levels = pattern.replace("/", ".").split(".")
    return MQTT_WILDCARDS if "+" in levels or "#" in levels else None


ResumePoint = tuple[int, str]  # a position and its cursor


@define(eq=False)
class _Subscription:
    start_position: int  # the log's head when it was opened: what comes before needs the right to replay
    replayed_to: int | None = None  # the position reached by the replay; `None`: it has caught up
    # Up to which its peer has all of it, during the replay.
    resume_point: ResumePoint | None = None


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
    # Up to which its peer has all of the caught-up subscriptions.
    _live_resume_point: ResumePoint | None = None
    _replays: int = 0  # under way

    async def open(self, identity: Identity, command: Subscribe) -> Subscribed:
        """Raises `ValidationError`, `Forbidden`, `Conflict`, or `RateLimited` for one too many.

        A subscription that resumes gets no deliveries before `catch_up`.  One that is open already is confirmed
        where the command is `repeatable`; with a cursor it resumes anew, and what it still had to replay is dropped.
        """
        pattern = check_pattern(command.pattern)
        self._publisher.policy.authorize_subscribe(identity, pattern, history=command.after is not None)
        former = self._by_pattern.get(pattern)
        if former is not None and not command.repeatable:
            raise Conflict(f"Already subscribed: {pattern}")
        if former is None:
            if len(self._by_pattern) >= self._limits.max_subscriptions:
                raise RateLimited(f"At most {self._limits.max_subscriptions} subscriptions")
            self._stats.record_subscribed()
        if not self._replay_reader.is_logged(pattern):
            self._by_pattern[pattern] = former or _Subscription(self._dispatcher.position)
            self._dispatcher.subscribe(pattern, self._owner)
            return Subscribed(
                pattern,
                self._new_id(),
                "live",
                ref=command.ref,
                scope=self._publisher.scope,
                warning=_warning_for(pattern),
            )
        if former is not None and command.after is None:
            return self._confirm(pattern, former, command.ref)
        subscription = _Subscription(self._dispatcher.position)
        current = self._by_pattern[pattern] = former or subscription
        recovered = None
        after = (command.after or "").removesuffix(INCLUDED)
        if command.after is not None:
            try:
                subscription.replayed_to = await self._replay_reader.locate(pattern, after)
            except BaseException:
                if former is None:
                    self.close(pattern)
                raise
            recovered = subscription.replayed_to is not None
        if self._by_pattern.get(pattern) is current:  # else the connection was closed meanwhile
            self._by_pattern[pattern] = subscription
            if subscription.replayed_to is not None:
                subscription.resume_point = subscription.replayed_to, after
                self._dispatcher.unsubscribe(pattern, self._owner)
            else:
                self._dispatcher.subscribe(pattern, self._owner)
        cursor = after if recovered else self._dispatcher.cursor
        position = subscription.replayed_to if recovered else self._dispatcher.position
        return Subscribed(
            pattern,
            self._new_id(),
            "log",
            cursor,
            recovered,
            command.ref,
            position or 0,
            warning=_warning_for(pattern),
        )

    def _confirm(self, pattern: str, subscription: _Subscription, ref: Ref) -> Subscribed:
        """The answer to a second command for a subscription that goes on as it is."""
        if subscription.replayed_to is not None and subscription.resume_point is not None:
            position, cursor = subscription.resume_point
            return Subscribed(pattern, self._new_id(), "log", cursor, True, ref, position)
        head = self._dispatcher
        warning = _warning_for(pattern)
        return Subscribed(
            pattern, self._new_id(), "log", head.cursor, None, ref, head.position, warning=warning
        )

    async def catch_up(self, pattern: str) -> None:
        """Replay what a resumed subscription has missed, then subscribe it to new events without a gap."""
        self._replays += 1
        if self._replays == 1:
            self._owner.on_catching_up(True)
        try:
            await self._replay_until_current(pattern)
        finally:
            self._replays -= 1
            if not self._replays:
                self._owner.on_catching_up(False)

    async def _replay_until_current(self, pattern: str) -> None:
        subscription = self._by_pattern.get(pattern)
        while subscription is not None and subscription.replayed_to is not None:
            if not await self._replay_page(pattern, subscription, subscription.replayed_to):
                return
            if subscription.replayed_to == self._dispatcher.position:
                # Nothing is dispatched between this comparison and the next line.
                subscription.replayed_to = None
                self._dispatcher.subscribe(pattern, self._owner)
                self._owner.send(
                    CaughtUp(pattern, self._dispatcher.cursor, position=self._dispatcher.position)
                )

    async def _replay_page(self, pattern: str, subscription: _Subscription, position: int) -> bool:
        """Replay one more page; False when the subscription was closed."""
        if position >= self._dispatcher.position:
            await self._dispatcher.wait_for(position)
            return self._by_pattern.get(pattern) is subscription
        page = await self._replay_reader.read_page(pattern, position, self._dispatcher.position)
        for number, entry in enumerate(page.entries):
            if number % REPLAY_CHUNK == 0:
                await self._replay_reader.wait_for_turn()
            await self._owner.wait_until_writable()
            identity = self._owner.identity
            if self._by_pattern.get(pattern) is not subscription or identity is None:
                return False
            delivery = self._replayed_delivery(
                entry, pattern, identity, entry.position <= subscription.start_position
            )
            if delivery is not None and not self._owner.deliver_replayed(delivery):
                return False
        subscription.replayed_to = page.end_position
        return self._by_pattern.get(pattern) is subscription

    def _replayed_delivery(
        self, entry: Entry, pattern: str, identity: Identity, past: bool
    ) -> Delivery | None:
        """`entry` on the first of its topics that is covered and may be replayed, marked as such."""
        policy = self._publisher.policy
        may_receive = policy.may_replay if past else policy.may_read
        for topic in entry.event.topics:
            if overlaps(pattern, topic) and may_receive(
                identity, topic, required_topic(entry.event.topics, topic)
            ):
                return delivery_of(entry, topic, pattern)
        return None

    def on_written(self, reply: Delivery | Subscribed | CaughtUp) -> None:
        """`reply` left the send queue, and with it all that was queued before."""
        if reply.cursor is None:
            return
        resume_point = reply.position, reply.cursor
        resumes = isinstance(reply, Subscribed) and reply.recovered is True
        pattern = reply.replay_pattern if isinstance(reply, Delivery) else reply.pattern
        subscription = self._by_pattern.get(pattern) if pattern is not None else None
        if subscription is not None:
            if resumes or isinstance(reply, Delivery):
                subscription.resume_point = resume_point
            elif subscription.replayed_to is None:  # else it has resumed anew meanwhile
                subscription.resume_point = None
        # A subscription may resume from ahead of what was delivered to the others; all else is not ahead.
        if not resumes and (self._live_resume_point is None or resume_point > self._live_resume_point):
            self._live_resume_point = resume_point

    def resume_cursor(self) -> str | None:
        """The cursor to resume from so that nothing is missed on any pattern."""
        points = [subscription.resume_point for subscription in self._by_pattern.values()]
        points.append(self._live_resume_point)
        return min((point for point in points if point is not None), default=(0, None))[1]

    def close(self, pattern: str) -> bool:
        """End the subscription; whether there was one."""
        if pattern not in self._by_pattern:
            return False
        del self._by_pattern[pattern]
        self._dispatcher.unsubscribe(pattern, self._owner)
        self._stats.record_unsubscribed()
        return True

    def close_all(self) -> None:
        for pattern in list(self._by_pattern):
            self.close(pattern)
