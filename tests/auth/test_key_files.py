"""Files of keys: read at the start and when told to, and never half."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.key_files import MAX_FILE_BYTES, BadKeyFile, KeyFiles
from multiproto.auth.tokens import JwtTokens
from multiproto.core.errors import Unauthorized

from ..fakes import sequential_ids
from .pems import ed25519, p256, private, public

SECRET = "a secret of at least thirty-two characters"


class KeyFilesCase(SynchronousTestCase):
    """`signing` is the file of the private key, `others` that of the public ones."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.signing, self.others = folder / "signing.pem", folder / "others.pem"

    def write(self, path: Path, *texts: bytes) -> None:
        path.write_bytes(b"".join(texts))
        path.chmod(0o600)

    def keys(self, secret: str = "", *, signing: bool = True, others: bool = True) -> KeyFiles:
        keys = KeyFiles(
            lambda: secret,
            str(self.signing) if signing else "",
            (str(self.others),) if others else (),
        )
        keys.privilegedStartService()
        return keys

    def tokens(self, keys: KeyFiles) -> JwtTokens:
        return JwtTokens(keys, 900, "15m", lambda: 1_000_000.0, sequential_ids("jti"))

    def taken(self, tokens: JwtTokens, *texts: str) -> list[bool]:
        """Of each token, whether it lets somebody in."""
        outcomes = []
        for text in texts:
            try:
                outcomes.append(tokens.verify(text).user_id == "u")
            except Unauthorized:
                outcomes.append(False)
        return outcomes


class RotationTests(KeyFilesCase):
    def test_a_turn_of_keys(self) -> None:
        """The next one is known before it signs, the old one as long as its tokens are: nobody is locked out."""
        old, new = ed25519(), p256()
        self.write(self.signing, private(old))
        self.write(self.others, public(old))
        keys = self.keys()
        tokens = self.tokens(keys)
        by_old = tokens.issue("u", "u@example.org", "s")
        self.write(self.others, public(old), public(new))
        self.assertTrue(keys.reload())
        self.assertEqual([key["alg"] for key in keys.public_jwks()], ["EdDSA", "ES256"])
        self.write(self.signing, private(new))
        self.assertTrue(keys.reload())
        by_new = tokens.issue("u", "u@example.org", "s")
        self.assertEqual([key["alg"] for key in keys.public_jwks()], ["ES256", "EdDSA"])
        self.assertEqual(self.taken(tokens, by_old, by_new), [True, True])
        self.write(self.others, public(new))
        self.assertTrue(keys.reload())
        self.assertEqual(self.taken(tokens, by_old, by_new), [False, True])
        self.assertEqual([key["alg"] for key in keys.public_jwks()], ["ES256"])

    def test_from_a_secret_to_a_key_and_back(self) -> None:
        """With JWT_SECRET left in place tokens of both are taken; without it, those of the key."""
        key = ed25519()
        self.write(self.signing, private(key))
        self.write(self.others, public(key))
        before = self.tokens(self.keys(SECRET, signing=False, others=False))
        by_secret = before.issue("u", "u@example.org", "s")
        preparing = self.tokens(self.keys(SECRET, signing=False))  # knows the key, does not sign with it yet
        during, after = self.tokens(self.keys(SECRET)), self.tokens(self.keys())
        by_key = during.issue("u", "u@example.org", "s")
        for tokens, expected in (
            (before, [True, False]),
            (preparing, [True, True]),
            (during, [True, True]),
            (after, [False, True]),
        ):
            self.assertEqual(self.taken(tokens, by_secret, by_key), expected)
        again = self.tokens(self.keys(SECRET, signing=False)).issue("u", "u@example.org", "s")
        self.assertEqual(self.taken(before, again), [True])

    def test_what_can_not_be_read_changes_nothing(self) -> None:
        """The old keys serve on, all of them, and the log says why."""
        old = ed25519()
        self.write(self.signing, private(old))
        self.write(self.others, public(p256()))
        keys = self.keys()
        ring = keys()
        for signing, others, why in (
            (private(ed25519()), b"", "JWT_PUBLIC_KEY_FILES ({others}) holds no public key in PEM"),
            (
                b"",
                public(old),
                "JWT_PRIVATE_KEY_FILE ({signing}) must hold one private key in PEM, and holds 0",
            ),
        ):
            self.write(self.signing, signing)
            self.write(self.others, others)
            with capturedLogs() as logged:
                self.assertFalse(keys.reload())
            [event] = logged
            self.assertEqual(event["log_level"], LogLevel.error)
            where = why.format(signing=self.signing, others=self.others)
            self.assertEqual(formatEvent(event), f"the keys of tokens stay as they were: {where}")
            self.assertIs(keys(), ring)


class FaultTests(KeyFilesCase):
    def fault(self) -> str:
        fault = str(self.assertRaises(BadKeyFile, self.keys))
        return fault.replace(str(self.signing), "signing").replace(str(self.others), "others")

    def test_one_line_each(self) -> None:
        self.write(self.others, public(p256()))
        self.assertEqual(
            self.fault(), "JWT_PRIVATE_KEY_FILE (signing) can't be read: No such file or directory"
        )
        self.write(self.signing, private(ed25519()))
        self.others.unlink()
        self.assertEqual(
            self.fault(), "JWT_PUBLIC_KEY_FILES (others) can't be read: No such file or directory"
        )
        self.others.mkdir()
        self.assertEqual(self.fault(), "JWT_PUBLIC_KEY_FILES (others) can't be read: Is a directory")

    def test_all_at_once(self) -> None:
        """The secret, too; but not that it is missing, where the key that can't be read would sign."""
        folder = self.others.parent
        self.write(self.others, private(p256()))
        files = (folder / "a.pem", self.others, folder / "b.pem", folder / "a.pem")
        problems = [
            f"JWT_PRIVATE_KEY_FILE ({self.signing}) can't be read: No such file or directory",
            f"JWT_PUBLIC_KEY_FILES ({folder}/a.pem) can't be read: No such file or directory",
            f"JWT_PUBLIC_KEY_FILES ({self.others}) holds a private key, where public ones belong (openssl pkey -pubout)",
            f"JWT_PUBLIC_KEY_FILES ({folder}/b.pem) can't be read: No such file or directory",
        ]
        bad_secret = (
            "JWT_SECRET must not be a key in PEM or the like: for those there is JWT_PRIVATE_KEY_FILE"
        )
        for secret, more in (("", []), (public(p256()).decode(), [bad_secret])):
            keys = KeyFiles(partial(str, secret), str(self.signing), tuple(map(str, files)))
            bad = self.assertRaises(BadKeyFile, keys.privilegedStartService)
            self.assertEqual(list(bad.problems), problems + more)
            self.assertEqual(str(bad), "; ".join(problems + more))

    def test_size(self) -> None:
        key = ed25519()
        self.write(self.signing, private(key))
        self.write(self.others, public(key).ljust(MAX_FILE_BYTES, b"#"))
        self.keys()
        self.write(self.others, public(key).ljust(MAX_FILE_BYTES + 1, b"#"))
        self.assertEqual(self.fault(), f"JWT_PUBLIC_KEY_FILES (others) is larger than {MAX_FILE_BYTES} bytes")

    def test_a_secret_that_is_a_key(self) -> None:
        self.write(self.signing, private(ed25519()))
        bad = self.assertRaises(BadKeyFile, self.keys, public(p256()).decode(), others=False)
        self.assertEqual(
            str(bad),
            "JWT_SECRET must not be a key in PEM or the like: for those there is JWT_PRIVATE_KEY_FILE",
        )

    def test_a_private_key_that_everybody_may_read(self) -> None:
        """Is used, for it may be meant so in a container; but not in silence."""
        self.write(self.signing, private(ed25519()))
        for mode, warnings in ((0o600, 0), (0o640, 0), (0o604, 1), (0o644, 1)):
            self.signing.chmod(mode)
            with capturedLogs() as logged:
                self.keys(others=False)
            warned = [formatEvent(event) for event in logged if event["log_level"] == LogLevel.warn]
            line = (
                f"JWT_PRIVATE_KEY_FILE ({self.signing}) can be read by everybody on this machine: chmod 600"
            )
            self.assertEqual(warned, [line] * warnings)

    def test_no_key_is_logged(self) -> None:
        key = ed25519()
        self.write(self.signing, private(key))
        with capturedLogs() as logged:
            keys = self.keys(SECRET, others=False)
            self.signing.write_bytes(private(key)[:-40])
            keys.reload()
        said = repr([(formatEvent(event), event) for event in logged])
        for secret in (SECRET, *private(key).decode().splitlines()[1:-1]):
            self.assertNotIn(secret, said)
