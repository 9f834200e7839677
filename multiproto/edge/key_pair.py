"""A certificate and its key, read from PEM files, or why they can't be used.

What is read here is what OpenSSL would read; but it asks for a passphrase on the
terminal, and tells of a wrong key only in numbers.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion

# Of TLS 1.2, what keeps no old secret and is authenticated (RFC 9325, 4.2); those of TLS 1.3 all are so.
TLS12_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")


class KeyPairError(Exception):
    """A file does not serve; the text names the setting and the file, on one line."""


@frozen
class KeyPair:
    """`chain` begins with the certificate that is ours; those that vouch for it follow."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes = field(repr=False)

    @property
    def key_matches(self) -> bool:
        """Whether the key is that of the certificate."""
        theirs = self.chain[0].public_key(), self.key.public_key()
        one, other = (each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in theirs)
        return one == other

    @property
    def expires_at(self) -> datetime:
        return self.chain[0].not_valid_after_utc

    @property
    def description(self) -> str:
        """Which it is, for the log."""
        ours = self.chain[0]
        return f"{ours.subject.rfc4514_string() or 'without a name'}, serial {ours.serial_number:x}"

    def validity_problem(self, now: datetime) -> str | None:
        """Why clients will not trust it at `now`, as far as its dates say."""
        if now < self.chain[0].not_valid_before_utc:
            return f"is not valid before {self.chain[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return f"expired on {self.expires_at:%Y-%m-%d %H:%M} UTC" if now > self.expires_at else None

    def tls_options(self, protocols: tuple[bytes, ...]) -> CertificateOptions:
        """How to speak TLS as its owner; `protocols` are what ALPN may choose, if anything.

        Twisted's defaults leave compression, old versions and session tickets
        out.  Raises `SSL.Error` for what OpenSSL finds too weak.
        """
        first, *others = map(crypto.X509.from_cryptography, self.chain)
        options = CertificateOptions(
            crypto.PKey.from_cryptography_key(self.key),  # type: ignore[arg-type]
            first,
            extraCertChain=others,
            acceptableCiphers=TLS12_CIPHERS,
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        context = options.getContext()
        context.set_options(SSL.OP_NO_RENEGOTIATION)

        def chosen(_: SSL.Connection, offered: list[bytes]) -> Any:
            """Without one in common, none: Twisted's own would break the handshake off."""
            return next((each for each in protocols if each in offered), SSL.NO_OVERLAPPING_PROTOCOLS)

        context.set_alpn_select_callback(chosen)
        return options


def read_key_pair(certificate: Path, key: Path) -> KeyPair:
    """Raises `KeyPairError`."""
    pair = KeyPair(_read_chain(certificate), _read_private_key(key))
    try:
        if not pair.key_matches:
            raise KeyPairError(
                f"TLS_KEY_FILE {key}: is not the key of the first certificate in TLS_CERT_FILE {certificate}"
            )
        pair.tls_options(())
    except SSL.Error as error:
        raise KeyPairError(f"TLS_CERT_FILE {certificate}: {_describe_ssl_error(error)}") from None
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyPairError(
            f"TLS_CERT_FILE {certificate}: its key is of a kind that TLS can't use: {error}"
        ) from None
    return pair


def _read_chain(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(_read_file("TLS_CERT_FILE", path)))
    except ValueError:
        raise KeyPairError(f"TLS_CERT_FILE {path}: holds no certificate in PEM") from None


def _read_private_key(path: Path) -> PrivateKeyTypes:
    content = _read_file("TLS_KEY_FILE", path)
    try:
        return load_pem_private_key(content, None)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyPairError(f"TLS_KEY_FILE {path}: holds no private key in PEM") from None
    except TypeError:
        raise KeyPairError(
            f"TLS_KEY_FILE {path}: is encrypted, and nobody is there for its passphrase"
        ) from None


def _read_file(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyPairError(f"{name} {path}: can't be read: {error.strerror}") from None


def _describe_ssl_error(error: SSL.Error) -> str:
    """OpenSSL's queue of errors, in words."""
    return "; ".join(str(each[-1]) for each in error.args[0]) or "can't be used"
