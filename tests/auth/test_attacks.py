"""Known attacks on tokens: none gets in, and none is told more than "Invalid token"."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.keys import KeyRing
from multiproto.auth.tokens import MAX_TOKEN_LENGTH, Claims, JwtTokens
from multiproto.core.errors import Unauthorized

from ..fakes import sequential_ids
from .attacks import Target

SECRET = "a secret of at least thirty-two characters"
CLAIMS: dict[str, Any] = {
    "userId": "u",
    "email": "u@example.org",
    "iat": 1_000_000,
    "exp": 1_000_900,
    "typ": "access",
    "sid": "s",
    "jti": "j",
}
NOW = 1_000_001.0


def tokens(ring: KeyRing) -> JwtTokens:
    return JwtTokens(lambda: ring, 900, "15m", lambda: NOW, sequential_ids("jti"))


class AttacksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = Target.new(CLAIMS, SECRET)
        self.tokens = tokens(self.target.ring)

    def outcome(self, token: str) -> str:
        return str(self.assertRaises(Unauthorized, self.tokens.verify, token))

    def test_what_they_are_made_of_is_good(self) -> None:
        """Else the table would show nothing."""
        for token in self.target.good():
            self.assertEqual(self.tokens.verify(token), Claims("u", "s", 1_000_900.0, 1_000_000.0))

    def test_each_of_them(self) -> None:
        attacks = list(self.target.attacks())
        self.assertGreater(len(attacks), 250)
        outcomes = [(name, self.outcome(token)) for name, token in attacks]
        self.assertEqual([each for each in outcomes if each[1] != "Invalid token"], [])

    def test_where_there_is_only_a_secret(self) -> None:
        """And where there is none: each key's good tokens are then among the bad."""
        edwards, p256, shared = self.target.good()
        for ring, good in (
            (KeyRing.build(SECRET), {shared}),
            (KeyRing.build("", self.target.ring.signing_key), {edwards}),
        ):
            self.tokens = tokens(ring)
            for token in good:
                self.tokens.verify(token)
            bad = {edwards, p256, shared, *(token for _, token in self.target.attacks())} - good
            self.assertEqual({self.outcome(token) for token in bad}, {"Invalid token"})

    def test_the_longest(self) -> None:
        """One of `MAX_TOKEN_LENGTH` characters is read, one more is not."""
        room = MAX_TOKEN_LENGTH - len(self.target.signed(CLAIMS | {"pad": ""}))
        fits = [self.target.signed(CLAIMS | {"pad": "x" * (room * 3 // 4 + n)}) for n in range(-2, 4)]
        lengths = [len(token) for token in fits]
        self.assertIn(MAX_TOKEN_LENGTH, lengths)
        for token in fits:
            if len(token) > MAX_TOKEN_LENGTH:
                self.assertEqual(self.outcome(token), "Invalid token")
            else:
                self.tokens.verify(token)
        self.assertGreater(max(lengths), MAX_TOKEN_LENGTH)

    def test_in_good_order_but_late(self) -> None:
        for late in (1_000_000, 1_000_001, 0):
            self.assertEqual(self.outcome(self.target.signed(CLAIMS | {"exp": late})), "Token has expired")

    @given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
    def test_nothing_else_is_raised(self, text: str) -> None:
        self.assertRaises(Unauthorized, self.tokens.verify, text)

    @given(st.sampled_from((0, 1, 2)), st.integers(0, 400), st.characters(), st.integers(0, 2))
    def test_one_character_changed(self, which: int, at: int, other: str, taken: int) -> None:
        """Replaced, put in, or with its neighbour taken away."""
        good = self.target.good()[which]
        changed = good[:at] + other + good[at + taken :]
        if changed != good:
            self.assertRaises(Unauthorized, self.tokens.verify, changed)

    @given(
        st.dictionaries(
            st.sampled_from(("alg", "typ", "kid", "crit", "b64", "jku")), st.text() | st.integers()
        ),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
        ),
    )
    def test_well_signed_nonsense(self, header: dict[str, object], claims: object) -> None:
        self.assertRaises(Unauthorized, self.tokens.verify, self.target.signed([claims], **header))
        self.assertRaises(Unauthorized, self.tokens.verify, self.target.signed(CLAIMS | {"exp": claims}))
