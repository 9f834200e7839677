"""Ids that sort by their time."""

from __future__ import annotations

from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.uuid7 import Uuid7Generator
from multiproto.core.validation import is_uuid


class Uuid7Tests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_795_000_000.123)
        self.ids = Uuid7Generator(self.clock.seconds)

    def test_version_variant_and_time(self) -> None:
        text = self.ids()
        self.assertTrue(is_uuid(text))
        self.assertEqual((UUID(text).version, UUID(text).int >> 80), (7, 1_795_000_000_123))

    def test_they_sort_in_the_order_they_were_made(self) -> None:
        """Also when 10,000 are made in one millisecond, and when the clock is set back."""
        made = [self.ids() for _ in range(10_000)]
        self.clock.rightNow -= 3600
        made += [self.ids() for _ in range(10)]
        self.assertEqual(made, sorted(set(made)))
