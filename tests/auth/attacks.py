"""Known attacks on JWTs as tokens, made for one server's keys: each must be refused as "Invalid token".

Most are signed with the server's own keys, as if the attacker had talked it into
that: what they are refused for is then what their name says, not the signature.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any, Callable, Iterator

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from multiproto.auth.keys import KeyRing, SigningKey, VerificationKey
from multiproto.auth.tokens import MAX_TOKEN_LENGTH

Sign = Callable[[bytes], bytes]
Attack = tuple[str, str]  # its name, the token

ORDER = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"  # of P-256
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TRICKS = (
    *("unknown", "../../../../../../dev/null", "/proc/self/environ", "key.pem", "http://127.0.0.1/key"),
    *("' OR '1'='1", "x' UNION SELECT 'key' --", "$(id)", "{{7*7}}", "%00", "\0", "\u202e", "K" * 2000),
    *([], {}, 0, 1, -1, 1.5, True, False, None, "", [""]),
)


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value: object) -> str:
    """One part of a token; bytes as they are, all else as JSON."""
    return base64url(value if isinstance(value, bytes) else json.dumps(value).encode())


def by_hmac(key: bytes, digest: str = "sha256") -> Sign:
    return lambda said: hmac.new(key, said, digest).digest()


def by_es256(key: EllipticCurvePrivateKey) -> Sign:
    return lambda said: ECAlgorithm(ECAlgorithm.SHA256).sign(said, key)


def made(header: object, claims: object, sign: Sign) -> str:
    said = f"{part(header)}.{part(claims)}"
    return f"{said}.{base64url(sign(said.encode()))}"


def respelled(text: str) -> str:
    """Other text for the same bytes: a bit that is left over is set."""
    assert len(text) % 4 in (2, 3), "no bit is left over"
    return text[:-1] + ALPHABET[ALPHABET.index(text[-1]) | 1]


@frozen
class Target:
    """A server that signs with Ed25519, and takes P-256 and a secret too; `claims` is what it lets somebody in for."""

    claims: dict[str, Any]
    secret: str
    edwards: Ed25519PrivateKey
    p256: EllipticCurvePrivateKey

    @classmethod
    def new(cls, claims: dict[str, Any], secret: str) -> Target:
        return cls(claims, secret, Ed25519PrivateKey.generate(), generate_private_key(SECP256R1()))

    @property
    def ring(self) -> KeyRing:
        signer = SigningKey(self.edwards, VerificationKey.from_public_key(self.edwards.public_key()))
        return KeyRing.build(self.secret, signer, [VerificationKey.from_public_key(self.p256.public_key())])

    @property
    def kids(self) -> tuple[str, str]:
        """Of the Ed25519 key and of the P-256 key."""
        first, second = self.ring.keys_by_id
        return first, second

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": "EdDSA", "typ": "JWT", "kid": self.kids[0]}

    def signed(self, claims: object = None, /, **header: object) -> str:
        """With the Ed25519 key; what is in `header` comes over the good one."""
        return made(self.header | header, self.claims if claims is None else claims, self.edwards.sign)

    def good(self) -> list[str]:
        """By each of the three keys."""
        return [
            self.signed(),
            made({"alg": "ES256", "kid": self.kids[1]}, self.claims, by_es256(self.p256)),
            made({"alg": "HS256", "typ": "JWT"}, self.claims, by_hmac(self.secret.encode())),
        ]

    def attacks(self) -> Iterator[Attack]:
        yield from self._without_signature()
        yield from self._another_algorithm()
        yield from self._public_key_as_secret()
        yield from self._another_key()
        yield from self._what_the_header_says()
        yield from self._headers_that_are_none()
        yield from self._other_text()
        yield from self._other_signatures()
        yield from self._other_claims()

    def _without_signature(self) -> Iterator[Attack]:
        for spelling in ("none", "None", "NONE", "nOnE", "none ", "", "null"):
            for header in ({"alg": spelling, "typ": "JWT"}, self.header | {"alg": spelling}):
                said = f"{part(header)}.{part(self.claims)}"
                yield f"alg {spelling!r}, unsigned", f"{said}."
                yield f"alg {spelling!r}, signed", made(header, self.claims, self.edwards.sign)
        for token in self.good():
            yield "the signature left out", token.rpartition(".")[0] + "."
            yield "the signature and its dot left out", token.rpartition(".")[0]

    def _another_algorithm(self) -> Iterator[Attack]:
        secret, (edwards, p256) = self.secret.encode(), self.kids
        for alg in (
            *("eddsa", "EDDSA", "Ed25519", "Ed448", "ES256", "HS256", "RS256", "PS256"),
            None,
            1,
            ["EdDSA"],
            {},
        ):
            yield f"alg {alg!r} of an Ed25519 key", self.signed(alg=alg)
        for alg in ("ES256K", "ES384", "ES512", "es256", "EdDSA", "HS256"):
            yield (
                f"alg {alg} of a P-256 key",
                made({"alg": alg, "kid": p256}, self.claims, by_es256(self.p256)),
            )
        for alg in ("HS384", "HS512"):
            signed = by_hmac(secret, "sha" + alg[2:])
            yield f"{alg} by the secret", made({"alg": alg, "typ": "JWT"}, self.claims, signed)
        yield "hs256", made({"alg": "hs256"}, self.claims, by_hmac(secret))
        yield "no alg", made({"typ": "JWT", "kid": edwards}, self.claims, self.edwards.sign)
        yield "a P-256 signature under Ed25519's kid", self._by_p256(kid=edwards)
        yield "ES256 under Ed25519's kid, by Ed25519", self.signed(alg="ES256")
        yield "EdDSA under the kid of P-256", self.signed(kid=p256)
        yield "EdDSA without a kid", made({"alg": "EdDSA", "typ": "JWT"}, self.claims, self.edwards.sign)
        yield "ES256 without a kid", made({"alg": "ES256", "typ": "JWT"}, self.claims, by_es256(self.p256))

    def _by_p256(self, **header: object) -> str:
        return made(
            {"alg": "ES256", "typ": "JWT", "kid": self.kids[1]} | header, self.claims, by_es256(self.p256)
        )

    def _public_key_as_secret(self) -> Iterator[Attack]:
        for key, kid in zip((self.edwards.public_key(), self.p256.public_key()), self.kids):
            pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            jwk = json.dumps(dict(self.ring.keys_by_id[kid].public_jwk), separators=(",", ":")).encode()
            for name, public in (("PEM", pem), ("PEM stripped", pem.strip()), ("DER", der), ("JWK", jwk)):
                for header in ({"alg": "HS256", "typ": "JWT"}, {"alg": "HS256", "kid": kid}):
                    yield f"HS256 by the public key's {name}", made(header, self.claims, by_hmac(public))
            yield "HS256 by the kid", made({"alg": "HS256", "kid": kid}, self.claims, by_hmac(kid.encode()))

    def _another_key(self) -> Iterator[Attack]:
        own, secret = Ed25519PrivateKey.generate(), by_hmac(self.secret.encode())
        foreign = VerificationKey.from_public_key(own.public_key())
        yield "a foreign key under our kid", made(self.header, self.claims, own.sign)
        yield (
            "a foreign key under its own kid",
            made(self.header | {"kid": foreign.id}, self.claims, own.sign),
        )
        yield "a foreign secret", made({"alg": "HS256"}, self.claims, by_hmac(b"secret"))
        yield "an empty secret", made({"alg": "HS256"}, self.claims, by_hmac(b""))
        yield (
            "a foreign key sent along",
            made(self.header | {"jwk": dict(foreign.public_jwk)}, self.claims, own.sign),
        )
        for kid in (
            *TRICKS,
            [self.kids[0]],
            self.kids[0].swapcase(),
            self.kids[0] + " ",
            self.kids[0] + "\0",
        ):
            shown = repr(kid)[:30]
            yield f"kid {shown}", self.signed(kid=kid)
            yield f"kid {shown}, by the secret", made({"alg": "HS256", "kid": kid}, self.claims, secret)
            yield f"kid {shown}, by nothing", made({"alg": "HS256", "kid": kid}, self.claims, by_hmac(b""))

    def _what_the_header_says(self) -> Iterator[Attack]:
        own = OKPAlgorithm.to_jwk(self.edwards.public_key(), as_dict=True)
        for name, value in (
            ("jku", "http://127.0.0.1:1/jwks.json"),
            ("x5u", "http://127.0.0.1:1/chain.pem"),
            ("x5c", ["MIIB"]),
            ("x5t", "dGh1bWI"),
            ("x5t#S256", "dGh1bWI"),
            ("jwk", own),
            ("crit", ["exp"]),
            ("crit", []),
            ("b64", True),
            ("b64", False),
            ("zip", "DEF"),
            ("cty", "JWT"),
            ("enc", "A256GCM"),
            ("exp", 1),
            ("ALG", "none"),
            ("alg ", "none"),
            ("typ", "at+jwt"),
            ("typ", "jwt"),
            ("typ", None),
        ):
            yield f"header {name} {value!r}", self.signed(**{name: value})
        detached = {**self.header, "b64": False, "crit": ["b64"]}
        yield "b64 and crit", made(detached, self.claims, self.edwards.sign)
        head, claims = part(detached), json.dumps(self.claims).encode()
        signature = base64url(self.edwards.sign(head.encode() + b"." + claims))
        yield "b64, the payload left out", f"{head}..{signature}"
        yield "b64, the payload as it is", f"{head}.{claims.decode()}.{signature}"

    def _headers_that_are_none(self) -> Iterator[Attack]:
        text = json.dumps(self.header)
        for name, header in (
            ("two algs", text[:-1] + ', "alg": "none"}'),
            ("two algs, the bad one first", '{"alg": "none", ' + text[1:]),
            ("two algs, one escaped", text[:-1] + ', "\\u0061lg": "none"}'),
            ("two kids", text[:-1] + ', "kid": "x"}'),
            ("something behind it", text + "{}"),
            ("cut short", text[:-1]),
            ("a comment", "/**/" + text),
            ("a list", "[]"),
            ("a string", '"EdDSA"'),
            ("null", "null"),
            ("a number", "1"),
            ("nothing", ""),
            ("deep", "[" * 900 + "]" * 900),
        ):
            yield f"header: {name}", made(header.encode(), self.claims, self.edwards.sign)
        for coding in ("utf-16", "utf-32", "utf-8-sig"):
            yield f"header in {coding}", made(text.encode(coding), self.claims, self.edwards.sign)
        yield "header not UTF-8", made(text.encode().replace(b"JWT", b"\xff"), self.claims, self.edwards.sign)

    def _other_text(self) -> Iterator[Attack]:
        good = self.signed()
        header, claims, signature = good.split(".")
        roomy = self.header | ({} if len(header) % 4 else {"typ": "JWT"})
        longer = next(c for c in (self.claims | {"pad": "x" * n} for n in range(3)) if len(part(c)) % 4 > 1)
        for token in (
            ".",
            "..",
            "...",
            "a.b.c",
            header,
            f"{header}.",
            f"..{signature}",
            "null",
            "Bearer",
            "\u00e9.a.b",
        ):
            yield f"no token: {token[:10]!r}", token
        for name, token in (
            ("behind it", good + "x"),
            ("a dot behind it", good + "."),
            ("before it", "x" + good),
            ("four parts", f"{good}.{signature}"),
            ("five parts", f"{header}.{claims}.{signature}.{claims}.{signature}"),
            ("twice", good + good),
            ("padded", good + "="),
            ("padded twice", good + "=="),
            ("padded to a multiple of four", good + "=" * (-len(signature) % 4)),
            ("padded in the middle", f"{header}=.{claims}.{signature}"),
            ("no header", f".{claims}.{signature}"),
            ("no claims", f"{header}..{signature}"),
            ("quoted", f'"{good}"'),
            ("the scheme in it", f"Bearer:{good}"),
            ("a comma", f"{good},{good}"),
            ("dots percent-encoded", good.replace(".", "%2E")),
            ("a full-width letter", chr(ord(good[0]) + 0xFEE0) + good[1:]),
            ("an ideographic full stop", good.replace(".", "\u3002")),
            ("plus and slash", self._by_standard_alphabet()),
            ("space in it", f"{header} .{claims}.{signature}"),
            ("a letter too many", f"{header}A.{claims}.{signature}"),
            ("another spelling of the signature", f"{header}.{claims}.{respelled(signature)}"),
        ):
            yield name, token
        for white in ("\n", "\r\n", "\t", "\0", "\u2028"):
            yield f"{white!r} in it", f"{header}{white}.{claims}.{signature}"
            yield f"{white!r} behind it", good + white
        said = f"{part(roomy)}.{respelled(part(longer))}"
        yield "another spelling of the claims", f"{said}.{base64url(self.edwards.sign(said.encode()))}"
        long = self.claims | {"pad": "x" * MAX_TOKEN_LENGTH}
        yield "too long", made(self.header, long, self.edwards.sign)

    def _by_standard_alphabet(self) -> str:
        while True:
            jti = base64url(Ed25519PrivateKey.generate().private_bytes_raw())
            token = self.signed(self.claims | {"jti": jti})
            if "-" in token or "_" in token:
                return token.replace("-", "+").replace("_", "/")

    def _other_signatures(self) -> Iterator[Attack]:
        said, _, signature = self.signed().rpartition(".")
        other = self.signed(self.claims | {"jti": "other"}).rpartition(".")[2]
        p256, _, by_p256 = self._by_p256().rpartition(".")
        der = self.p256.sign(p256.encode(), ECDSA(SHA256()))
        for name, token in (
            ("another token's signature", f"{said}.{other}"),
            ("half a signature", f"{said}.{signature[:40]}"),
            ("a signature and more", f"{said}.{signature[:-2]}AAAA"),
            ("a signature of zeros", f"{said}.{base64url(bytes(64))}"),
            ("a P-256 signature of zeros", f"{p256}.{base64url(bytes(64))}"),
            ("a P-256 signature of the order", f"{p256}.{base64url(bytes.fromhex(ORDER) * 2)}"),
            ("no P-256 signature", f"{p256}."),
            ("a P-256 signature in DER", f"{p256}.{base64url(der)}"),
            ("a P-256 signature of 65 bytes", f"{p256}.{base64url(b'0' * 65)}"),
            (
                "claims of another token",
                f"{part(self.header)}.{part({**self.claims, 'userId': 'x'})}.{signature}",
            ),
            (
                "header of another token",
                f"{part(self.header | {'typ': 'JWT ', 'x': 1})}.{said.split('.')[1]}.{by_p256}",
            ),
        ):
            yield name, token

    def _other_claims(self) -> Iterator[Attack]:
        for name in self.claims:
            yield f"no {name}", self.signed({key: value for key, value in self.claims.items() if key != name})
            for wrong in (None, True, 1.5, -1, "", [], {}, [self.claims[name]]):
                yield f"{name} {wrong!r}", self.signed(self.claims | {name: wrong})
        text = json.dumps(self.claims)
        for claim, value in (
            *(
                ("exp", value)
                for value in ("NaN", "Infinity", "1e400", "9" * 400, str(2**53 + 1), '"9999999999"')
            ),
            *(("typ", value) for value in ('"refresh"', '"ACCESS"', '["access"]')),
            *(("userId", value) for value in ('"\\ud800"', "1")),
        ):
            raw = text.replace(f'"{claim}": {json.dumps(self.claims[claim])}', f'"{claim}": {value}')
            yield f"{claim} {value[:12]}", self.signed(raw.encode())
        for name, said in (
            ("userId twice", text[:-1] + ', "userId": "somebody else"}'),
            ("exp twice", '{"exp": 1, ' + text[1:]),
            ("sid twice, once escaped", text[:-1] + ', "\\u0073id": "s2"}'),
            ("something behind them", text + text),
            ("a list", f"[{text}]"),
            ("a string", json.dumps(text)),
            ("another token", self.signed()),
            ("another token, quoted", json.dumps(self.signed())),
            ("nothing", ""),
            ("null", "null"),
            ("deep", "[" * 900 + "]" * 900),
        ):
            yield f"claims: {name}", self.signed(said.encode())
        for coding in ("utf-16", "utf-8-sig"):
            yield f"claims in {coding}", self.signed(text.encode(coding))
        for foreign in ({"aud": "else"}, {"iss": "else"}, {"nbf": 1}):
            yield f"for somebody else: {foreign}", self.signed(self.claims | foreign)
