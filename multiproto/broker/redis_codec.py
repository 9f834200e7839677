"""What instances say to each other through Redis: some publications, under a key they share.

    16 bytes   keyed BLAKE2b (RFC 7693) of the rest
    the rest   JSON: [instance, number, [[id, topic, content, metadata, sender, at], …]]

Whoever can write into Redis can't make up a publication, since the key is made
from the secret that signs tokens; nor can they repeat one to instances that
heard its instance before, since each numbers what it sends.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from hmac import compare_digest
from typing import Sequence

from attrs import field, frozen

from ..base import strict_json
from ..core.transactions import Publication

MAC_SIZE = 16  # bytes
PERSONALIZATION = b"multiproto live"  # what else the secret is used for gives other keys


class BadBrokerMessage(ValueError):
    """Not from an instance with our key."""


@frozen
class BrokerMacKey:
    _bytes: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: str) -> BrokerMacKey:
        return cls(blake2b(secret.encode(), person=PERSONALIZATION, digest_size=32).digest())

    def mac(self, body: bytes) -> bytes:
        return blake2b(body, key=self._bytes, digest_size=MAC_SIZE).digest()


@frozen
class PublicationBatch:
    instance: str
    sequence: int  # from 1, of all that this instance said
    publications: tuple[Publication, ...]


def encode_publication(publication: Publication) -> bytes:
    """One publication, as `encode` takes it."""
    p = publication
    return strict_json.dumps([p.id, p.topic, p.content, p.metadata, p.sender_id, p.accepted_at])


def encode(key: BrokerMacKey, instance: str, number: int, rows: Sequence[bytes]) -> bytes:
    body = b'["%s",%d,[%s]]' % (instance.encode(), number, b",".join(rows))
    return key.mac(body) + body


def decode(key: BrokerMacKey, payload: bytes, own: str = "") -> PublicationBatch | None:
    """Total: gives what was encoded, or raises `BadBrokerMessage`; `None`, unread, for what the instance `own` said."""
    mac, body = payload[:MAC_SIZE], payload[MAC_SIZE:]
    if not compare_digest(mac, key.mac(body)):
        raise BadBrokerMessage("not made with the key of our instances")
    if own and body.startswith(b'["%s",' % own.encode()):
        return None
    try:  # what our own kind wrote; another version may write it in another way
        instance, number, publications = json.loads(body)
        return PublicationBatch(str(instance), int(number), tuple(map(_decode_publication, publications)))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadBrokerMessage("not as this version writes it") from error


def _decode_publication(fields: Sequence[object]) -> Publication:
    id, topic, content, metadata, sender, at = fields
    if not (isinstance(metadata, dict) and isinstance(at, (int, float))):
        raise TypeError
    return Publication(str(id), str(topic), content, metadata, str(sender), float(at))
