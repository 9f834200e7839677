"""A certificate and its key, read from PEM files, or why they can't be used.

OpenSSL could read the files itself; but it asks for a passphrase on the
terminal, and reports a wrong key only by numbers.
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

# Of TLS 1.2, those with forward secrecy and authenticated encryption (RFC 9325, 4.2); those of TLS 1.3 all are so.
TLS12_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")


class KeyPairError(Exception):
    """A file can't be used; the text names the setting and the file, on one line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@frozen
class KeyPair:
    """`chain` begins with the server's own certificate; intermediate ones follow."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes = field(repr=False)

    @property
    def key_matches(self) -> bool:
        """Whether the key belongs to the certificate."""
        keys = self.chain[0].public_key(), self.key.public_key()
        one, other = (key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys)
        return one == other

    @property
    def expires_at(self) -> datetime:
        return self.chain[0].not_valid_after_utc

    @property
    def description(self) -> str:
        """Subject and serial number, for the log."""
        ours = self.chain[0]
        return f"{ours.subject.rfc4514_string() or 'without a name'}, serial {ours.serial_number:x}"

    def validity_problem(self, now: datetime) -> str | None:
        """Why the certificate is not valid at `now`, by its dates; `None` if it is."""
        if now < self.chain[0].not_valid_before_utc:
            return f"is not valid before {self.chain[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return f"expired on {self.expires_at:%Y-%m-%d %H:%M} UTC" if now > self.expires_at else None

    def tls_options(self, protocols: tuple[bytes, ...]) -> CertificateOptions:
        """The options of TLS servers with this key pair; ALPN chooses among `protocols`, if there are any.

        Twisted's defaults already exclude compression, old versions and session
        tickets.  Raises `SSL.Error` for a key that OpenSSL finds too weak.
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

        def select_alpn(_: SSL.Connection, offered: list[bytes]) -> Any:
            """No protocol where none is in common: Twisted's own callback would abort the handshake."""
            return next((each for each in protocols if each in offered), SSL.NO_OVERLAPPING_PROTOCOLS)

        context.set_alpn_select_callback(select_alpn)
        return options


def read_key_pair(certificate: Path, key: Path) -> KeyPair:
    """The key pair in two PEM files.  Raises `KeyPairError`, with a problem for each of them that can't be used."""
    try:
        chain = _read_chain(certificate)
    except KeyPairError as bad:
        try:
            _read_private_key(key)
        except KeyPairError as also_bad:
            raise KeyPairError(*bad.problems, *also_bad.problems) from None
        raise
    pair = KeyPair(chain, _read_private_key(key))
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
    """The texts of OpenSSL's error queue."""
    return "; ".join(str(each[-1]) for each in error.args[0]) or "can't be used"
