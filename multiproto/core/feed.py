"""A subscription as something to ask for the next delivery: for streams that only listen.

A GraphQL subscription or a server-sent event stream is a `Session` like any
other connection; `Feed` is its peer.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Union

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, succeed

from .errors import Unavailable
from .hub import Hub, Line
from .outbox import Allowance
from .ports import Identity
from .session import Session
from .wire import Burst, CaughtUp, Delivery, Farewell, Ping, Refused, Reply, Subscribe, Subscribed

AHEAD = 65_536  # bytes held for the reader before the session's own, bounded outbox fills

# `CaughtUp`: a resumed stream has no more to replay; `Ping`: nothing for a while; `None`: the end
Heard = Union[Delivery, CaughtUp, Ping, None]


@define(eq=False, repr=False)
class Feed:
    """Deliveries of one pattern, in order, for one reader, who must `leave` in the end."""

    _weigh: Callable[[Delivery], int]  # bytes that this stream's wire writes
    subscribed: Subscribed = field(init=False)
    farewell: Farewell | None = None  # why there will be no more
    _session: Session = field(init=False)
    _ahead: Deque[Delivery | CaughtUp] = Factory(deque)
    _ahead_bytes: int = 0
    _allowance: Allowance | None = None  # shared with other feeds
    _reader: Deferred[Heard] | None = None
    _opened: Deferred[Subscribed] = Factory(Deferred)

    @classmethod
    async def open(
        cls,
        hub: Hub,
        line: Line,
        host: str,
        who: Identity,
        weigh: Callable[[Delivery], int],
        pattern: str,
        after: str | None = None,
        allowance: Allowance | None = None,
    ) -> Feed:
        """Subscribe `who`.  Raises what `Hub.admit` and a subscription may raise.

        Feeds that share an `allowance` hold no more than that unread, all together.
        """
        feed = cls(weigh)
        feed._session = hub.admit(feed, host, line, who)
        feed._session.outbox.allowance = feed._allowance = allowance
        feed._session.receive(Subscribe(pattern, after))
        try:
            feed.subscribed = await feed._opened
        except BaseException:
            feed.leave()
            raise
        return feed

    def next(self) -> Deferred[Heard]:
        """What comes next.  One question at a time; cancelling it loses nothing."""
        if self._ahead:
            delivery = self._ahead.popleft()
            self._hold(-self.size(delivery))
            if not self._ahead:
                self._session.outbox.resumeProducing()
            return succeed(delivery)
        if self.farewell:
            return succeed(None)
        self._reader = Deferred(self._cancelled)
        return self._reader

    def leave(self) -> None:
        """The reader wants no more; nothing of the subscription is left."""
        self._hold(-self._ahead_bytes)
        self._ahead.clear()  # feed and session hold each other, so it would wait for the garbage collector
        self.abort()

    def _hold(self, size: int) -> None:
        self._ahead_bytes += size
        if self._allowance is not None:
            self._allowance.held += size

    def _cancelled(self, reader: Deferred[Heard]) -> None:
        self._reader = None

    def _hand(self, heard: Heard) -> bool:
        """Give `heard` to the reader, if it waits."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(heard)
        return reader is not None

    # The session calls these: ports.Peer.

    def send(self, reply: Reply) -> int:
        match reply:
            case Subscribed():
                self._opened.callback(reply)
            case Refused(refusal=refusal):
                self._opened.errback(refusal)
            case Ping():
                self._session.heard()  # a stream has no way to answer
                self._hand(reply)
            case Delivery() | CaughtUp():
                if not self._hand(reply):
                    self._ahead.append(reply)
                    self._hold(self.size(reply))
                    if self._ahead_bytes >= AHEAD:
                        self._session.outbox.pauseProducing()
        return self.size(reply)

    def send_all(self, burst: Burst) -> int:
        return 0

    def size(self, reply: Reply) -> int:
        return self._weigh(reply) if isinstance(reply, Delivery) else 0

    def close(self, why: Farewell) -> None:
        self.farewell = why
        if not self._opened.called:
            self._opened.errback(Unavailable(why.message))
        self._hand(None)

    def abort(self) -> None:
        self._session.lost()
        self.farewell = self._session.ended
        self._hand(None)

    def pause(self) -> None:
        """A stream says nothing that could be paused."""

    def resume(self) -> None:
        """Nothing was paused."""
