"""Keys: what they are called, what they come from, and what is none."""

from __future__ import annotations

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.keys import (
    BadKey,
    KeyRing,
    VerificationKey,
    load_signing_key,
    load_verification_keys,
    thumbprint,
)

from .pems import ECPARAM, ed25519, p256, private, public

SECRET = "a secret of at least thirty-two characters"
OLD = PrivateFormat.TraditionalOpenSSL
UNWANTED = "must hold an Ed25519 or a P-256 key"


class NamesTests(SynchronousTestCase):
    def test_examples_of_the_rfcs(self) -> None:
        """RFC 8037, A.3; RFC 9449, 6.1."""
        edwards = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        self.assertEqual(thumbprint(edwards), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        p256 = {
            "kty": "EC",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
            "crv": "P-256",
        }
        self.assertEqual(thumbprint(p256 | {"use": "sig"}), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")

    def test_coordinates_keep_their_zeros(self) -> None:
        """A coordinate has 32 bytes, also where the first is zero (RFC 7518, 6.2.1.2)."""
        for number in range(1, 700):
            public = ec.derive_private_key(number, ec.SECP256R1()).public_key()
            members = VerificationKey.from_public_key(public).public_jwk
            self.assertEqual((len(members["x"]), len(members["y"])), (43, 43), number)

    def test_what_is_published_verifies(self) -> None:
        """By a program that has nothing else; and nothing private is in it."""
        for key in (ed25519(), p256()):
            ring = KeyRing.build(SECRET, load_signing_key(private(key)))
            [published] = ring.public_jwks
            names = {"kty", "crv", "x", "use", "alg", "kid"} | ({"y"} if published["kty"] == "EC" else set())
            self.assertEqual(set(published), names)
            token = jwt.encode({"sub": "u"}, key, ring.signing_key.verification_key.algorithm)
            jwk = jwt.PyJWK(dict(published))
            self.assertEqual(jwt.decode(token, jwk), {"sub": "u"})
        self.assertEqual(KeyRing.build(SECRET).public_jwks, [])

    def test_nothing_secret_is_shown(self) -> None:
        key = ed25519()
        ring = KeyRing.build(SECRET, load_signing_key(private(key)))
        for shown in (repr(ring), repr(KeyRing.build(SECRET))):
            self.assertNotIn(SECRET, shown)
            self.assertNotIn("rivate", shown)


class PemTests(SynchronousTestCase):
    def test_forms_of_a_private_key(self) -> None:
        edwards, curve = ed25519(), p256()
        for text, algorithm in (
            (private(edwards), "EdDSA"),
            (private(curve), "ES256"),
            (private(curve, form=OLD), "ES256"),
            (ECPARAM + private(curve, form=OLD), "ES256"),
            (b"\xef\xbb\xbf# mine\r\n" + private(curve).replace(b"\n", b"\r\n"), "ES256"),
            (private(edwards) + public(edwards), "EdDSA"),
        ):
            self.assertEqual(load_signing_key(text).verification_key.algorithm, algorithm)

    def test_private_keys_that_do_not_sign(self) -> None:
        one, locked = ed25519(), BestAvailableEncryption(b"pass phrase")
        encrypted = "is encrypted, and there is nobody to type a pass phrase: decrypt it (openssl pkey)"
        for text, why in (
            (b"", "must hold one private key in PEM, and holds 0"),
            (b"-----BEGIN PRIVATE KEY-----", "must hold one private key in PEM, and holds 0"),
            (private(one) + private(one), "must hold one private key in PEM, and holds 2"),
            (public(one), "holds a public key: the private one signs"),
            (private(one, locked), encrypted),
            (private(p256(), locked, OLD), encrypted),
            (private(one).replace(b"MC4", b"MC5"), "holds a private key that can't be read"),
            (private(rsa.generate_private_key(65537, 2048)), UNWANTED),
            (private(ec.generate_private_key(ec.SECP384R1())), UNWANTED),
            (private(ec.generate_private_key(ec.SECP256K1())), UNWANTED),
            (private(ed448.Ed448PrivateKey.generate()), UNWANTED),
            (private(x25519.X25519PrivateKey.generate()), UNWANTED),
        ):
            self.assertEqual(str(self.assertRaises(BadKey, load_signing_key, text)), why)

    def test_a_bundle_of_public_keys(self) -> None:
        keys = [ed25519(), p256(), ed25519()]
        text = b"the old one\n" + b"\nthe next one\n".join(map(public, keys))
        self.assertEqual([key.algorithm for key in load_verification_keys(text)], ["EdDSA", "ES256", "EdDSA"])

    def test_public_keys_that_do_not_verify(self) -> None:
        one = ed25519()
        for text, why in (
            (b"", "holds no public key in PEM"),
            (b"ssh-ed25519 AAAA", "holds no public key in PEM"),
            (
                public(one) + private(one),
                "holds a private key, where public ones belong (openssl pkey -pubout)",
            ),
            (
                public(one).replace(b"PUBLIC KEY", b"CERTIFICATE"),
                "holds CERTIFICATE, where only PUBLIC KEY belongs",
            ),
            (public(one).replace(b"MCo", b"MCp"), "holds a public key that can't be read"),
            (public(one) + public(rsa.generate_private_key(65537, 2048)), UNWANTED),
            (public(ec.generate_private_key(ec.SECP384R1())), UNWANTED),
        ):
            self.assertEqual(str(self.assertRaises(BadKey, load_verification_keys, text)), why)

    def test_all_bad_blocks_of_a_bundle_are_told(self) -> None:
        one = ed25519()
        text = (
            public(one).replace(b"MCo", b"MCp")
            + public(one)
            + private(one)
            + public(one).replace(b"PUBLIC KEY", b"CERTIFICATE")
            + public(rsa.generate_private_key(65537, 2048))
        )
        bad = self.assertRaises(BadKey, load_verification_keys, text)
        problems = (
            "holds a public key that can't be read (block 1)",
            "holds a private key, where public ones belong (openssl pkey -pubout) (block 3)",
            "holds CERTIFICATE, where only PUBLIC KEY belongs (block 4)",
            f"{UNWANTED} (block 5)",
        )
        self.assertEqual((bad.problems, str(bad)), (problems, "; ".join(problems)))

    @given(st.binary())
    def test_nothing_else_is_raised(self, noise: bytes) -> None:
        for label in (b"PUBLIC KEY", b"PRIVATE KEY", b"EC PRIVATE KEY"):
            text = b"-----BEGIN %s-----\n%s\n-----END %s-----" % (label, noise, label)
            self.assertRaises(BadKey, load_signing_key, text)
            self.assertRaises(BadKey, load_verification_keys, text)


class SecretTests(SynchronousTestCase):
    def test_a_public_key_is_no_secret(self) -> None:
        """Whoever knows it, and anybody may, could sign."""
        for text in (public(ed25519()).decode(), private(p256()).decode(), "ssh-ed25519 " + "A" * 68):
            for one in (None, load_signing_key(private(ed25519()))):
                bad = self.assertRaises(BadKey, KeyRing.build, text, one)
                self.assertTrue(str(bad).startswith("must not be a key in PEM"), bad)

    def test_what_no_text_is(self) -> None:
        self.assertRaises(BadKey, KeyRing.build, "\udcff" * 40)
        self.assertRaises(BadKey, KeyRing.build, "")
