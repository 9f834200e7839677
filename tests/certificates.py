"""Certificates made for a test, signed by an authority that only it knows."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Union

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]
DAY = datetime.timedelta(days=1)


@frozen
class Files:
    """In PEM; `authority` has signed `certificate`."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number


@frozen
class Authority:
    """Signs as many certificates as a test needs."""

    _key: ec.EllipticCurvePrivateKey = field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def write(
        self, directory: Path, name: str, lasts: datetime.timedelta = DAY, key: Key | None = None
    ) -> Files:
        """A new certificate and key for a server called `name`, in place of those that are there."""
        theirs = key or ec.generate_private_key(ec.SECP256R1())
        root = _certificate("authority", "authority", self._key, self._key, DAY)
        leaf = _certificate(name, "authority", theirs, self._key, lasts)
        files = Files(directory / "authority.pem", directory / "certificate.pem", directory / "key.pem")
        files.authority.write_bytes(root.public_bytes(Encoding.PEM))
        files.certificate.write_bytes(leaf.public_bytes(Encoding.PEM))
        files.key.write_bytes(theirs.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files


def make(directory: Path, name: str) -> Files:
    """For a server called `name`."""
    return Authority().write(directory, name)


def _certificate(
    name: str,
    issuer: str,
    key: Key,
    signer: ec.EllipticCurvePrivateKey,
    lasts: datetime.timedelta,
) -> x509.Certificate:
    """Valid for two days at least, which end `lasts` from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    named = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (issuer, name))
    serial = 1 if name == issuer else x509.random_serial_number()
    builder = x509.CertificateBuilder(
        *named, key.public_key(), serial, min(now, now + lasts) - DAY, now + lasts
    )
    builder = builder.add_extension(x509.BasicConstraints(name == issuer, None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(signer, hashes.SHA256())
