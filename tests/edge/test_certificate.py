"""The certificate's files: which are valid, what is logged about the others, and reloading."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from multiproto.edge.certificate import TlsCertificate
from multiproto.edge.key_pair import KeyPairError, read_key_pair
from multiproto.edge.listeners import ALPN_HTTP
from multiproto.lifecycle import describe_error

from ..certificates import DAY, Authority


class Present(Clock):
    """Stands at the present."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = datetime.datetime.now().timestamp()


class CertificateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority()
        self.files = self.authority.write(self.directory, "localhost")


class PairTests(CertificateCase):
    def fault(self) -> str:
        error = self.assertRaises(KeyPairError, read_key_pair, self.files.certificate, self.files.key)
        return describe_error(error).replace(f"{self.directory}/", "")

    def test_a_chain(self) -> None:
        """Those that vouch for it stand behind it."""
        ours = self.files.certificate.read_bytes()
        self.files.certificate.write_bytes(ours + self.files.authority.read_bytes())
        pair = read_key_pair(self.files.certificate, self.files.key)
        self.assertEqual(
            [each.subject.rfc4514_string() for each in pair.chain], ["CN=localhost", "CN=authority"]
        )
        self.assertTrue(pair.key_matches)
        self.assertNotIn("key", repr(pair))

    def test_a_chain_the_wrong_way_round(self) -> None:
        ours = self.files.certificate.read_bytes()
        self.files.certificate.write_bytes(self.files.authority.read_bytes() + ours)
        self.assertEqual(
            self.fault(),
            "TLS_KEY_FILE key.pem: is not the key of the first certificate in TLS_CERT_FILE certificate.pem",
        )

    def test_files_that_are_not_there(self) -> None:
        self.files.key.unlink()
        self.assertEqual(self.fault(), "TLS_KEY_FILE key.pem: can't be read: No such file or directory")
        self.files.certificate.unlink()
        why = "can't be read: No such file or directory"
        self.assertEqual(self.fault(), f"TLS_CERT_FILE certificate.pem: {why}; TLS_KEY_FILE key.pem: {why}")

    def test_files_that_hold_something_else(self) -> None:
        certificate, key = self.files.certificate.read_bytes(), self.files.key.read_bytes()
        for content in (b"", b"hello", key, certificate[:200]):
            self.files.certificate.write_bytes(content)
            self.assertEqual(self.fault(), "TLS_CERT_FILE certificate.pem: holds no certificate in PEM")
        self.files.certificate.write_bytes(certificate)
        for content in (b"", b"hello", certificate, key[:100]):
            self.files.key.write_bytes(content)
            self.assertEqual(self.fault(), "TLS_KEY_FILE key.pem: holds no private key in PEM")

    def test_another_key(self) -> None:
        for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)):
            self.keep(key)
            self.assertEqual(
                self.fault(),
                "TLS_KEY_FILE key.pem: is not the key of the first certificate in TLS_CERT_FILE certificate.pem",
            )

    def test_an_encrypted_key(self) -> None:
        """OpenSSL would ask for the passphrase on the terminal, and the server would hang."""
        key = load_pem_private_key(self.files.key.read_bytes(), None)
        sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        self.files.key.write_bytes(sealed)
        self.assertEqual(
            self.fault(), "TLS_KEY_FILE key.pem: is encrypted, and nobody is there for its passphrase"
        )

    def test_a_key_that_is_too_short(self) -> None:
        self.files = Authority().write(self.directory, "localhost", key=rsa.generate_private_key(65537, 1024))
        self.assertEqual(self.fault(), "TLS_CERT_FILE certificate.pem: ee key too small")

    def keep(self, key: Any) -> None:
        self.files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class ReloadTests(CertificateCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = Present()
        self.said: list[tuple[str, str]] = []
        self.patch(TlsCertificate, "_log", Logger(observer=self.hear))
        self.certificate = TlsCertificate(
            self.files.certificate, self.files.key, self.reactor, self.reactor.seconds
        )

    def hear(self, event: Any) -> None:
        text = event["log_format"].format(**event).replace(f"{self.directory}/", "")
        self.said.append((event["log_level"].name, text))

    def heard(self) -> list[tuple[str, str]]:
        said, self.said = self.said, []
        return said

    def start(self) -> None:
        self.certificate.privilegedStartService()
        self.certificate.startService()

    def told(self) -> tuple[str, str]:
        until = read_key_pair(self.files.certificate, self.files.key).expires_at
        return "info", f"certificate of CN=localhost, serial {self.files.serial:x}, until {until}"

    def test_a_new_one_is_read(self) -> None:
        self.start()
        self.assertEqual(self.heard(), [self.told()])
        self.authority.write(self.directory, "localhost")
        self.certificate.reload()
        self.assertEqual(self.heard(), [self.told()])

    def test_a_bad_file_keeps_the_old_one(self) -> None:
        self.start()
        self.heard()
        self.files.key.write_text("half")
        self.certificate.reload()
        why = "TLS_KEY_FILE key.pem: holds no private key in PEM"
        self.assertEqual(self.heard(), [("error", f"the certificate stays as it is: {why}")])

    def test_a_bad_file_at_the_start(self) -> None:
        self.files.key.unlink()
        self.assertRaises(KeyPairError, self.certificate.privilegedStartService)

    def test_one_that_expired_is_worth_a_warning(self) -> None:
        self.authority.write(self.directory, "localhost", lasts=-DAY / 2)
        self.start()
        told, (level, text) = self.heard()
        self.assertEqual((told, level), (self.told(), "warn"))
        self.assertRegex(text, r"^TLS_CERT_FILE certificate.pem expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC$")

    def test_and_one_that_is_not_valid_yet(self) -> None:
        self.reactor.rightNow -= 10 * 86400
        self.start()
        self.assertRegex(self.heard()[1][1], "^TLS_CERT_FILE certificate.pem is not valid before ")

    def test_a_port_made_before_or_after_the_files_were_read(self) -> None:
        before = self.certificate.wrap_in_tls(Factory(), ALPN_HTTP)
        self.start()
        after = self.certificate.wrap_in_tls(Factory(), ALPN_HTTP)
        for factory in (before, after):
            self.assertIsNotNone(factory._creatorCallable(factory.protocol(factory, None)))  # type: ignore[attr-defined]

    def test_who_wants_no_connection_gets_none(self) -> None:
        """As the HTTP site, when it drains."""
        none = Factory()
        none.buildProtocol = lambda addr: None  # type: ignore[method-assign, assignment]
        self.assertIsNone(self.certificate.wrap_in_tls(none).buildProtocol(StringTransport().getPeer()))
