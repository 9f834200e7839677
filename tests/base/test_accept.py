"""Weights in Accept and Accept-Encoding."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.accept import MAX_MEMBERS, parse_weights


class WeightsTests(SynchronousTestCase):
    def test_members_and_weights(self) -> None:
        for header, weights in (
            ("a", (("a", 1.0),)),
            ("A;x=y;q=0.5, b;q=x", (("a", 0.5), ("b", 0.0))),
            ("", (("", 1.0),)),
        ):
            self.assertEqual(parse_weights(header), weights)

    def test_not_more_members_than_a_client_has_use_for(self) -> None:
        """A head of commas took 10 ms, and 2 MB of memory for as long as it was remembered."""
        self.assertEqual(len(parse_weights("," * 16_000)), MAX_MEMBERS)
        self.assertEqual(parse_weights("a" + ";" * 16_000 + "q=0"), (("a", 1.0),))
