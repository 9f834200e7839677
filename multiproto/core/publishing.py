"""A client's publication, from whatever wire: checked, permitted, handed to its lane."""

from __future__ import annotations

from typing import Callable, Mapping

from attrs import define, frozen

from . import policy
from .errors import Invalid, TooLarge
from .ports import Broker, Identity, Publication
from .topics import check_topic

MAX_CONTENT = 1_000_000  # bytes of encoded data, so that a delivery fits every wire (contract, section 1)
MAX_METADATA = 10_000  # bytes, encoded


@frozen
class Published:
    publication: Publication
    cursor: str | None  # on a logged topic


@define(eq=False, repr=False)
class Publisher:
    _broker: Broker
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _measure: Callable[[object], int]  # bytes that a value takes when encoded

    async def publish(
        self,
        who: Identity,
        topic: str,
        content: object,
        metadata: Mapping[str, object] | None = None,
        connection: str | None = None,
    ) -> Published:
        """Raises `Invalid`, `Forbidden`, `TooLarge`, or the broker's `Unavailable`."""
        policy.check_publish(who, check_topic(topic))
        if self._measure(content) > MAX_CONTENT:
            raise TooLarge(f"Data has at most {MAX_CONTENT} bytes of JSON")
        if metadata and self._measure(metadata) > MAX_METADATA:
            raise Invalid.at("metadata", f"Must have at most {MAX_METADATA} bytes of JSON")
        signed = {**(metadata or {}), "senderId": who.user_id}
        if connection is not None:
            signed["senderConnectionId"] = connection
        publication = Publication(self._new_id(), topic, content, signed, who.user_id, self._now())
        return Published(publication, await self._broker.publish(publication))
