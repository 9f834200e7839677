"""The messages between instances through Redis: batches of publications, authenticated by a shared key.

    16 bytes   keyed BLAKE2b (RFC 7693) of the rest
    the rest   JSON: [instance, sequence, [[id, topic, content, metadata, sender, at], …]]

Whoever can write into Redis can't forge a publication, since the key is derived
from the secret that signs tokens; nor can they replay one to instances that
have heard from its instance before, since each numbers its messages.
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
PERSONALIZATION = b"multiproto live"  # so that the secret's other uses have other keys


class BadBrokerMessage(ValueError):
    """Not from an instance with our key, or not in this version's format."""


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
    sequence: int  # of the messages of this instance, from 1
    publications: tuple[Publication, ...]


def encode_publication(publication: Publication) -> bytes:
    """One publication, as `encode` takes it."""
    p = publication
    content = strict_json.splice(p.content, p.encoded_content)
    return strict_json.dumps([p.id, p.topic, content, p.metadata, p.sender_id, p.accepted_at])


def encode(key: BrokerMacKey, instance: str, sequence: int, rows: Sequence[bytes]) -> bytes:
    body = b'["%s",%d,[%s]]' % (instance.encode(), sequence, b",".join(rows))
    return key.mac(body) + body


def decode(key: BrokerMacKey, payload: bytes, own: str = "") -> PublicationBatch | None:
    """What was encoded; `None`, undecoded, for a message of the instance `own`.  Raises `BadBrokerMessage` only."""
    mac, body = payload[:MAC_SIZE], payload[MAC_SIZE:]
    if not compare_digest(mac, key.mac(body)):
        raise BadBrokerMessage("not made with the key of our instances")
    if own and body.startswith(b'["%s",' % own.encode()):
        return None
    try:  # another version may have written it in another way
        instance, sequence, publications = json.loads(body)
        return PublicationBatch(str(instance), int(sequence), tuple(map(_decode_publication, publications)))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadBrokerMessage("not as this version writes it") from error


def _decode_publication(fields: Sequence[object]) -> Publication:
    id, topic, content, metadata, sender, at = fields
    if not (isinstance(metadata, dict) and isinstance(at, (int, float))):
        raise TypeError
    return Publication(str(id), str(topic), content, metadata, str(sender), float(at))
