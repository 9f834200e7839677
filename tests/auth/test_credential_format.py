"""What the secret of a credential looks like, and what is none."""

from __future__ import annotations

import re
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.credential_format import RandomCredentialIssuer, hash_secret, parse_credential_id
from multiproto.core.errors import Unauthorized

ID = "01a2055d-524a-7000-a3d1-dfd42086fed8"


class CredentialTests(SynchronousTestCase):
    def refused(self, text: str) -> None:
        refusal = self.assertRaises(Unauthorized, parse_credential_id, text)
        self.assertEqual((str(refusal), refusal.reason), ("Invalid credential", "invalid"))

    def test_it_is_told_from_all_else_by_its_form(self) -> None:
        secret, kept = RandomCredentialIssuer().issue(ID)
        self.assertTrue(re.fullmatch("mpd_[a-z2-7]{64}", secret))
        self.assertEqual((parse_credential_id(secret), kept), (ID, hash_secret(secret)))
        self.assertRegex(kept, "^[0-9a-f]{64}$")

    def test_this_is_one_for_ever(self) -> None:
        """Those that are out there must stay good."""
        secret, kept = RandomCredentialIssuer(lambda size: b"\1" * size).issue(ID)
        self.assertEqual(secret, "mpd_agrakxksjjyabi6r37kcbbx63aaqcaibaeaqcaibaeaqcaibaeaqcaibaevfnwft")
        self.assertEqual(kept, hash_secret(secret))
        self.assertEqual(parse_credential_id(secret), ID)

    def test_160_bits_are_random(self) -> None:
        asked = []
        RandomCredentialIssuer(lambda size: bytes(asked.append(size) or size)).issue(ID)
        self.assertEqual(asked, [20])
        self.assertEqual(len({RandomCredentialIssuer().issue(ID)[0] for _ in range(100)}), 100)

    def test_every_typo_is_found(self) -> None:
        """One character changed, dropped, doubled, or two exchanged; none needs a database."""
        secret, _ = RandomCredentialIssuer().issue(ID)
        for place, other in zip(range(4, len(secret)), cycle("ab27")):
            before, here, after = secret[:place], secret[place], secret[place + 1 :]
            if here != other:
                self.refused(before + other + after)
            self.refused(before + after)
            self.refused(before + here + here + after)
            if after and after[0] != here:
                self.refused(before + after[0] + here + after[1:])

    def test_what_is_not_quite_one(self) -> None:
        secret, _ = RandomCredentialIssuer().issue(ID)
        for text in (
            "",
            "mpd_",
            secret[4:],
            secret.upper(),
            secret + "\n",
            " " + secret,
            secret + "=",
            "mpd_" + "a" * 64,
        ):
            self.refused(text)
        for text in ("mpd_" + "é" * 64, "mpd_" + "\ud800" * 64, "mpd_" + "a" * 100_000):
            self.refused(text)

    @given(st.text(st.characters(), max_size=80))
    def test_total(self, text: str) -> None:
        self.refused(f"mpd_{text}")
