"""Bytes between instances: total, and not to be forged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.broker.redis_codec import (
    MAC_SIZE,
    BadBrokerMessage,
    BrokerMacKey,
    PublicationBatch,
    decode,
    encode,
    encode_publication,
)
from multiproto.core.transactions import Publication

KEY = BrokerMacKey.from_secret("x" * 32)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
contents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
publications = st.builds(
    Publication,
    id=texts,
    topic=texts,
    content=contents,
    metadata=st.dictionaries(texts, contents, max_size=2),
    sender_id=texts,
    accepted_at=st.floats(0, 2**33),
)


class CodecTests(SynchronousTestCase):
    @given(st.lists(publications, max_size=4), st.integers(1, 2**60))
    def test_what_is_said_is_heard(self, told: list[Publication], number: int) -> None:
        payload = encode(KEY, "a1b2", number, [encode_publication(each) for each in told])
        self.assertEqual(decode(KEY, payload), PublicationBatch("a1b2", number, tuple(told)))

    @given(st.binary(max_size=200))
    def test_other_bytes_are_malformed(self, payload: bytes) -> None:
        self.assertRaises(BadBrokerMessage, decode, KEY, payload)

    @given(st.binary(max_size=200))
    def test_so_are_they_with_a_key(self, body: bytes) -> None:
        """Another version of us, or a bug: never another exception."""
        self.assertRaises(BadBrokerMessage, decode, KEY, KEY.mac(body) + body)

    @given(st.data())
    def test_a_changed_bit_is_malformed(self, data: st.DataObject) -> None:
        payload = bytearray(
            encode(KEY, "a1b2", 7, [encode_publication(Publication("p", "t", 1, {}, "ann", 0.5))])
        )
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        self.assertRaises(BadBrokerMessage, decode, KEY, bytes(payload))

    def test_another_secret_is_another_key(self) -> None:
        payload = encode(BrokerMacKey.from_secret("y" * 32), "a1b2", 1, [])
        self.assertRaises(BadBrokerMessage, decode, KEY, payload)

    def test_deep_nesting_is_malformed(self) -> None:
        body = b"[" * 100_000
        self.assertRaises(BadBrokerMessage, decode, KEY, KEY.mac(body) + body)

    def test_a_key_is_not_shown(self) -> None:
        self.assertEqual((repr(KEY), MAC_SIZE), ("BrokerMacKey()", 16))
