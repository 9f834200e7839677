"""The format of a credential's secret: how it is made, parsed and hashed.

`mpd_` and 64 characters of lower-case base32 (RFC 4648), which are 40 bytes: the
credential's id, 20 random ones, and a CRC-32 over all before it.  So scanners of
source code recognize a leaked one, and a mistyped or truncated one is refused
without a database read.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b32decode, b32encode
from typing import Callable
from uuid import UUID
from zlib import crc32

from attrs import define

from ..core.errors import Unauthorized

PREFIX = "mpd_"
RANDOM_BYTES = 20  # bytes: 160 bits can't be guessed, so a fast hash is enough
_ID_BYTES, _CHECKSUM_BYTES = 16, 4  # bytes

_FORMAT = re.compile(f"{PREFIX}([a-z2-7]{{{(_ID_BYTES + RANDOM_BYTES + _CHECKSUM_BYTES) * 8 // 5}}})")


@define(eq=False, repr=False)
class RandomCredentialIssuer:
    """`core.ports.CredentialIssuer`."""

    _random: Callable[[int], bytes] = secrets.token_bytes

    def issue(self, id: str) -> tuple[str, str]:
        body = UUID(id).bytes + self._random(RANDOM_BYTES)
        secret = PREFIX + b32encode(body + _checksum(body)).decode().lower()
        return secret, hash_secret(secret)


def parse_credential_id(secret: str) -> str:
    """The id in `secret`, whether or not there is such a credential.  Raises `Unauthorized` for another format."""
    found = _FORMAT.fullmatch(secret)
    whole = b32decode(found[1].upper()) if found else b""
    body, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
    if not found or checksum != _checksum(body):
        raise Unauthorized("Invalid credential")
    return str(UUID(bytes=body[:_ID_BYTES]))


def hash_secret(secret: str) -> str:
    """The hash of `secret`, which is all of it that is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: bytes) -> bytes:
    return crc32(PREFIX.encode() + body).to_bytes(_CHECKSUM_BYTES, "big")
