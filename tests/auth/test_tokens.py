"""Access tokens: ours and in time, or refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.keys import KeyRing
from multiproto.auth.tokens import MAX_TOKEN_LENGTH, Claims, JwtTokens
from multiproto.core.errors import Unauthorized

from ..fakes import sequential_ids

SECRET = "a secret of at least thirty-two characters"


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class TokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000.25)
        ring = KeyRing.build(SECRET)
        self.tokens = JwtTokens(lambda: ring, 900, "15m", self.clock.seconds, sequential_ids("jti"))
        self.claims: dict[str, Any] = {
            "userId": "u",
            "email": "u@example.org",
            "iat": 1_000_000,
            "exp": 1_000_900,
            "typ": "access",
            "sid": "s",
            "jti": "jti1",
        }

    def refused(self, token: str) -> str:
        return str(self.assertRaises(Unauthorized, self.tokens.verify, token))

    def test_the_claims_of_the_contract(self) -> None:
        token = self.tokens.issue("u", "u@example.org", "s")
        self.assertEqual(jwt.get_unverified_header(token), {"alg": "HS256", "typ": "JWT"})
        self.assertEqual(jwt.decode(token, options={"verify_signature": False}), self.claims)
        self.assertEqual(self.tokens.verify(token), Claims("u", "s", 1_000_900.0, 1_000_000.0))

    def test_its_time_ends_with_its_last_second(self) -> None:
        token = self.tokens.issue("u", "u@example.org", "s")
        self.clock.advance(899.5)
        self.tokens.verify(token)
        self.clock.advance(0.5)
        self.assertEqual(self.refused(token), "Token has expired")

    def test_other_algorithms(self) -> None:
        """`none` in any spelling, another HMAC with our own secret, and HS256 in another spelling."""
        for spelling in ("none", "None", "NONE", "nOnE", "hs256", ""):
            unsigned = f"{part({'alg': spelling, 'typ': 'JWT'})}.{part(self.claims)}."
            self.assertEqual(self.refused(unsigned), "Invalid token")
        for other in ("HS384", "HS512"):
            self.assertEqual(self.refused(jwt.encode(self.claims, SECRET * 2, other)), "Invalid token")

    def test_a_foreign_key_or_a_changed_claim(self) -> None:
        self.refused(jwt.encode(self.claims, SECRET + "!", "HS256"))
        header, _, signature = self.tokens.issue("u", "u@example.org", "s").split(".")
        self.refused(f"{header}.{part(self.claims | {'userId': 'admin'})}.{signature}")

    def test_claims_that_are_missing_or_of_another_type(self) -> None:
        for name in self.claims:
            lacking = {key: value for key, value in self.claims.items() if key != name}
            self.refused(jwt.encode(lacking, SECRET, "HS256"))
            self.refused(jwt.encode(self.claims | {name: [1]}, SECRET, "HS256"))
        for wrong in ({"typ": "refresh"}, {"exp": True}, {"exp": 9e9}, {"exp": "1000900"}, {"userId": 1}):
            self.refused(jwt.encode(self.claims | wrong, SECRET, "HS256"))

    def test_what_is_no_token_at_all(self) -> None:
        for text in ("", ".", "..", "a.b.c", "é", "\0", "x" * 100, f"{part([])}.{part({})}.", "\ud800"):
            self.refused(text)

    def test_length(self) -> None:
        """Refused by its length, before anything is decoded."""
        padded = jwt.encode(self.claims | {"pad": "x" * MAX_TOKEN_LENGTH}, SECRET, "HS256")
        self.assertGreater(len(padded), MAX_TOKEN_LENGTH)
        self.refused(padded)
        fits = jwt.encode(self.claims | {"pad": "x" * 2500}, SECRET, "HS256")
        self.assertLess(len(fits), MAX_TOKEN_LENGTH)
        self.tokens.verify(fits)
