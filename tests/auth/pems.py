"""Keys in PEM, as openssl writes them."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

# openssl ecparam -name prime256v1 -genkey: two blocks, the older form.
ECPARAM = b"""-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
"""


def ed25519() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def p256() -> Any:
    return generate_private_key(SECP256R1())


def private(
    key: Any, how: KeySerializationEncryption = NoEncryption(), form: PrivateFormat = PrivateFormat.PKCS8
) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, form, how))


def public(key: Any) -> bytes:
    """Of a private key."""
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
