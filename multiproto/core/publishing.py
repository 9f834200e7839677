"""A client's publication, from whatever wire: checked, permitted, handed to its lane."""

from __future__ import annotations

from typing import Callable, Mapping

from attrs import Factory, define, evolve, frozen

from ..observe.moments import seconds, timestamp
from .errors import Invalid, TooLarge
from .namespaces import Namespaces
from .policy import Policy
from .ports import Broker, Event, Identity, Publication
from .quotas import Quotas
from .sends import Sends, check_key
from .topics import check_topic

MAX_CONTENT = 1_000_000  # bytes of encoded data, so that a delivery fits every wire (contract, section 1)
MAX_METADATA = 10_000  # bytes, encoded
PUBLICATION = "publication"  # the type of such an event


@frozen
class Published:
    publication: Publication
    cursor: str | None  # on a logged topic


@define(eq=False, repr=False)
class Publisher:
    policy: Policy  # also for those who listen: there is but one
    _broker: Broker  # for live topics
    _sends: Sends  # for those that the log keeps
    _namespaces: Namespaces
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _encode: Callable[[object], bytes]  # as a delivery will have it
    _quotas: Quotas = Factory(Quotas)

    @property
    def scope(self) -> str | None:
        """How far a publication on a live topic reaches now; see `Broker.scope`."""
        return self._broker.scope

    async def publish(
        self,
        who: Identity,
        topic: str,
        content: object,
        metadata: Mapping[str, object] | None = None,
        connection: str | None = None,
        key: str | None = None,
    ) -> Published:
        """Returns once it is accepted; on a logged topic: durable.

        `key` makes repeating it harmless where the topic is logged.  Raises
        `Invalid`, `Forbidden`, `TooLarge`, `Conflict`, `RateLimited`, or `Unavailable`.
        """
        self._quotas.charge(who)
        self.policy.check_publish(who, check_topic(topic))
        if key is not None:
            check_key(key)
        encoded = self._encode(content)
        if len(encoded) > MAX_CONTENT:
            raise TooLarge(f"Data has at most {MAX_CONTENT} bytes of JSON")
        size = len(encoded) + (len(self._encode(metadata)) if metadata else 0)
        if size > len(encoded) + MAX_METADATA:
            raise Invalid.at("metadata", f"Must have at most {MAX_METADATA} bytes of JSON")
        signed = {**(metadata or {}), "senderId": who.user_id}
        if connection is not None:
            signed["senderConnectionId"] = connection
        publication = Publication(self._new_id(), topic, content, signed, who.user_id, self._now(), size)
        namespace = self._namespaces.of(topic)
        if namespace is None:
            await self._broker.publish(publication)
            return Published(publication, None)
        event = Event(
            publication.id,
            PUBLICATION,
            (topic,),
            content,
            who.user_id,  # blanked when the account is closed
            timestamp(publication.at),
            namespace.match,
            who.user_id,
            signed,
        )
        body = (PUBLICATION, topic, encoded, metadata)
        sent = await self._sends.commit(who.user_id, key, body, (), event, publication.id)
        first = evolve(publication, id=sent.answer, at=seconds(sent.at))
        return Published(first, sent.cursor)
