"""The keys that sign and verify tokens: Ed25519 and P-256 keys in PEM, or one shared secret.

The key that verifies a token is chosen by its `kid`; the algorithm, by the key
alone (RFC 8725, 3.1).  A header with other members than ours finds no key: one
that says where to get a key (`jku`, `x5u`, `jwk`) or which extensions to
understand (`crit`) is refused, not followed.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Iterable, Mapping

from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt import PyJWK, PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from ..base import strict_json

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)  # RFC 7468
_HEADER_MEMBERS = {"alg", "typ", "kid"}  # of the tokens that this server signs
UNSUPPORTED_KEY = "must hold an Ed25519 or a P-256 key"


class BadKey(ValueError):
    """Not usable as keys; `problems` say why, each as the end of the sentence "FILE ..."."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@frozen
class VerificationKey:
    """A key that verifies tokens."""

    algorithm: str  # the only one that a token of this key may name
    jwk: PyJWK = field(repr=False)  # bound to that algorithm
    public_jwk: Mapping[str, str] = field(factory=dict)  # the published JWK; empty for the secret
    id: str | None = None  # its RFC 7638 thumbprint; the secret has none

    @classmethod
    def from_secret(cls, secret: str) -> VerificationKey:
        """Raises `BadKey` for a text that is a key of another kind, which may be public."""
        try:
            jwk = PyJWK({"kty": "oct", "k": _base64url(secret.encode())}, "HS256")
            jwk.Algorithm.prepare_key(jwk.key)
        except UnicodeEncodeError:
            raise BadKey("is not UTF-8") from None
        except PyJWTError:
            raise BadKey(
                "must not be a key in PEM or the like: for those there is JWT_PRIVATE_KEY_FILE"
            ) from None
        return cls("HS256", jwk)

    @classmethod
    def from_public_key(cls, key: object) -> VerificationKey:
        match key:
            case Ed25519PublicKey():
                algorithm, members = "EdDSA", OKPAlgorithm.to_jwk(key, as_dict=True)
            case EllipticCurvePublicKey(curve=SECP256R1()):
                algorithm, members = "ES256", ECAlgorithm.to_jwk(key, as_dict=True)
            case _:
                raise BadKey(UNSUPPORTED_KEY)
        id = thumbprint(members)
        return cls(
            algorithm,
            PyJWK(members, algorithm),
            {**members, "use": "sig", "alg": algorithm, "kid": id},
            id,
        )


@frozen
class SigningKey:
    """A key that signs tokens, with the key that verifies them."""

    material: Any = field(repr=False)
    verification_key: VerificationKey


@frozen
class KeyRing:
    """All keys in use: one signs, all verify."""

    signing_key: SigningKey
    secret_key: VerificationKey | None  # verifies tokens without `kid`
    keys_by_id: Mapping[str, VerificationKey]  # the others, by id

    @classmethod
    def build(
        cls, secret: str, signer: SigningKey | None = None, others: Iterable[VerificationKey] = ()
    ) -> KeyRing:
        """The secret signs where there is no `signer`, and verifies unless it is "".  Raises `BadKey`."""
        shared = VerificationKey.from_secret(secret) if secret else None
        if signer is None:
            if shared is None:
                raise BadKey("must be set where JWT_PRIVATE_KEY_FILE is not")
            signer = SigningKey(secret, shared)
        own = (signer.verification_key,) if signer.verification_key is not shared else ()
        return cls(signer, shared, {key.id: key for key in (*own, *others) if key.id is not None})

    def find(self, header: object) -> VerificationKey | None:
        """The key that a token with this header must be signed with; `None` for a header unlike ours."""
        if (
            not isinstance(header, dict)
            or not header.keys() <= _HEADER_MEMBERS
            or header.get("typ", "JWT") != "JWT"
        ):
            return None
        key, kid = self.secret_key, header.get("kid")
        if "kid" in header:
            key = self.keys_by_id.get(kid) if isinstance(kid, str) else None
        return key if key is not None and header.get("alg") == key.algorithm else None

    @property
    def public_jwks(self) -> list[Mapping[str, str]]:
        """The published keys: the signing key, unless it is the secret, then the others."""
        return [key.public_jwk for key in self.keys_by_id.values()]


def load_signing_key(text: bytes) -> SigningKey:
    """The one private key in `text`.  Raises `BadKey`."""
    labels = [match[1] for match in _PEM_BLOCK.finditer(text)]
    private = [label for label in labels if label.endswith(b"PRIVATE KEY")]
    if not private and b"PUBLIC KEY" in labels:
        raise BadKey("holds a public key: the private one signs")
    if len(private) != 1:
        raise BadKey(f"must hold one private key in PEM, and holds {len(private)}")
    try:
        key = load_pem_private_key(text, None)
    except TypeError:  # raised for a key with a pass phrase
        raise BadKey(
            "is encrypted, and there is nobody to type a pass phrase: decrypt it (openssl pkey)"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("holds a private key that can't be read") from None
    if not isinstance(key, (Ed25519PrivateKey, EllipticCurvePrivateKey)):
        raise BadKey(UNSUPPORTED_KEY)
    return SigningKey(key, VerificationKey.from_public_key(key.public_key()))


def load_verification_keys(text: bytes) -> list[VerificationKey]:
    """All public keys in `text`, one block after the other; text between them is ignored.  Raises `BadKey`."""
    blocks = list(_PEM_BLOCK.finditer(text))
    if not blocks:
        raise BadKey("holds no public key in PEM")
    keys: list[VerificationKey] = []
    bad: dict[int, str] = {}  # the number of a block -> what is wrong with it
    for number, block in enumerate(blocks, 1):
        try:
            keys.append(_load_verification_key(block[1], block[0]))
        except BadKey as problem:
            bad[number] = str(problem)
    if len(bad) > 1:
        raise BadKey(*(f"{why} (block {number})" for number, why in bad.items()))
    if bad:
        raise BadKey(*bad.values())
    return keys


def _load_verification_key(label: bytes, block: bytes) -> VerificationKey:
    if label.endswith(b"PRIVATE KEY"):
        raise BadKey("holds a private key, where public ones belong (openssl pkey -pubout)")
    if label != b"PUBLIC KEY":
        raise BadKey(f"holds {label.decode()}, where only PUBLIC KEY belongs")
    try:
        return VerificationKey.from_public_key(load_pem_public_key(block))
    except BadKey:
        raise
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("holds a public key that can't be read") from None


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The id of a public key, made from its content (RFC 7638)."""
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
    return _base64url(sha256(strict_json.dumps(required)).digest())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
