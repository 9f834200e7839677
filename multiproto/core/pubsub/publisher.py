"""Publishes for clients of every wire: checks, authorizes, and passes to the broker or to the log."""

from __future__ import annotations

from typing import Callable, Mapping

from attrs import Factory, define, evolve, frozen

from ...base.timestamps import format_timestamp, parse_timestamp
from ..errors import TooLarge, ValidationError
from ..idempotency import IdempotentSends, check_key
from ..identity import Identity
from ..ports import Broker
from ..ratelimit.publish_limits import PublishLimits
from ..transactions import Event, Publication
from .namespaces import Namespaces
from .policy import Policy
from .topics import check_topic

MAX_CONTENT = 1_000_000  # bytes of encoded data, so that a delivery fits every wire (docs/common.md#json)
MAX_METADATA = 10_000  # bytes, encoded
PUBLICATION = "publication"  # the type of such an event


@frozen
class PublishResult:
    """What was accepted, with the id and time of the first one where it is a repeated publication."""

    publication: Publication
    cursor: str | None  # on a logged topic


@define(eq=False, repr=False)
class Publisher:
    policy: Policy  # the server's only one: connections and routes use it through the publisher
    _broker: Broker  # for live topics
    _idempotent_sends: IdempotentSends  # for logged topics
    _namespaces: Namespaces
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _encode: Callable[[object], bytes]  # to JSON
    _encode_canonically: Callable[[object], bytes]  # likewise, but equal values to equal text
    limits: PublishLimits = Factory(PublishLimits)

    @property
    def scope(self) -> str | None:
        """How far a publication on a live topic reaches now; see `Broker.scope`."""
        return self._broker.scope

    async def publish(
        self,
        identity: Identity,
        topic: str,
        content: object,
        metadata: Mapping[str, object] | None = None,
        connection: str | None = None,
        key: str | None = None,
        *,
        is_charged: bool = False,
    ) -> PublishResult:
        """Returns once the publication is accepted; on a logged topic: once it is durable.

        `connection` is the id of the one that it came on.  `key` makes repeating it
        harmless where the topic is logged.  `is_charged`: `limits` have counted it, and it
        has waited.  Raises `ValidationError`, `Forbidden`, `TooLarge`, `Conflict`,
        `RateLimited`, or `Unavailable`.
        """
        if not is_charged:
            self.limits.check(identity)
        self.policy.authorize_publish(identity, check_topic(topic))
        if key is not None:
            check_key(key)
        encoded = self._encode(content)  # the only time: wires, broker and log splice these bytes
        if len(encoded) > MAX_CONTENT:
            raise TooLarge(f"Data has at most {MAX_CONTENT} bytes of JSON")
        size = len(encoded) + (len(self._encode(metadata)) if metadata else 0)
        if size > len(encoded) + MAX_METADATA:
            raise ValidationError.for_field("metadata", f"Must have at most {MAX_METADATA} bytes of JSON")
        self.limits.charge_bytes(identity, size)
        signed = _sign(metadata, identity, connection)
        publication = Publication(
            self._new_id(), topic, content, signed, identity.user_id, self._now(), size, encoded
        )
        namespace = self._namespaces.find(topic)
        if namespace is None:
            await self._broker.publish(publication)
            return PublishResult(publication, None)
        event = Event(
            publication.id,
            PUBLICATION,
            (topic,),
            content,
            identity.user_id,  # the subject: redacted when the account is closed
            format_timestamp(publication.accepted_at),
            namespace.match,
            identity.user_id,
            signed,
            encoded,
        )
        body = None if key is None else self._comparable(topic, content, metadata)
        earlier_body = (PUBLICATION, topic, encoded, metadata)
        sent = await self._idempotent_sends.commit(
            identity.user_id, key, body, (), event, publication.id, earlier_body
        )
        if sent.result_id != publication.id:  # it repeats an earlier one
            publication = evolve(publication, id=sent.result_id, accepted_at=parse_timestamp(sent.at))
        return PublishResult(publication, sent.cursor)

    def _comparable(self, topic: str, content: object, metadata: Mapping[str, object] | None) -> object:
        """A publication, to be compared with its repetition: by what it says, however it was written."""
        return PUBLICATION, topic, self._encode_canonically(content), self._encode_canonically(metadata or {})


def _sign(
    metadata: Mapping[str, object] | None, identity: Identity, connection: str | None
) -> dict[str, object]:
    """The metadata with the ids of its sender and of the connection, which no client can give itself.

    Without a connection, as in an HTTP request, there is no `senderConnectionId`: not even the client's own.
    """
    signed = {**(metadata or {}), "senderId": identity.user_id}
    if connection is None:
        signed.pop("senderConnectionId", None)
    else:
        signed["senderConnectionId"] = connection
    return signed
