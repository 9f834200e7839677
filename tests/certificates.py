"""Certificates made for a test, signed by an authority that only it knows."""

from __future__ import annotations

import datetime
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@frozen
class Files:
    """In PEM; `authority` has signed `certificate`."""

    authority: Path
    certificate: Path
    key: Path


def make(directory: Path, name: str) -> Files:
    """For a server called `name`."""
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("authority", "authority", ours, ours, authority=True)
    leaf = _certificate(name, "authority", theirs, ours, authority=False)
    files = Files(directory / "authority.pem", directory / "certificate.pem", directory / "key.pem")
    files.authority.write_bytes(root.public_bytes(Encoding.PEM))
    files.certificate.write_bytes(leaf.public_bytes(Encoding.PEM))
    files.key.write_bytes(theirs.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    named = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (issuer, name))
    builder = x509.CertificateBuilder(*named, key.public_key(), 1 + authority, now - DAY, now + DAY)
    builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(signer, hashes.SHA256())
