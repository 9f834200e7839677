"""The JWK Set, with which other services verify tokens."""

from __future__ import annotations

from .sites import SiteCase

PATH = "/.well-known/jwks.json"


class KeysTests(SiteCase):
    def test_the_keys_of_now(self) -> None:
        """Anybody may ask, and keep the answer for a while."""
        self.keys.append(
            {"kty": "OKP", "crv": "Ed25519", "x": "eA", "use": "sig", "alg": "EdDSA", "kid": "k"}
        )
        answer = self.ask("GET", PATH)
        self.assertEqual((answer.status, answer.json), (200, {"keys": self.keys}))
        self.assertEqual(
            (answer.headers["content-type"], answer.headers["cache-control"]),
            ("application/jwk-set+json", "public, max-age=300"),
        )

    def test_a_secret_is_no_key_of_it(self) -> None:
        """The address is there from the first day; who asks before there is a key learns just that."""
        self.assertEqual(self.ask("GET", PATH).json, {"keys": []})

    def test_nowhere_else(self) -> None:
        for path in (f"/api/v1{PATH}", f"/api{PATH}", "/.well-known", "/.well-known/jwks"):
            self.assertEqual(self.ask("GET", path).status, 404, path)
        refused = self.ask("POST", PATH, {})
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "GET, HEAD, OPTIONS"))

    def test_only_its_head(self) -> None:
        answer = self.ask("HEAD", PATH)
        self.assertEqual((answer.status, answer.headers["content-length"], answer.body), (200, "11", b""))
