"""Delays double up to their maximum, with jitter, and begin anew after a success."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.backoff import Backoff


class BackoffTests(SynchronousTestCase):
    def test_delays_double_up_to_the_maximum(self) -> None:
        backoff = Backoff(0.5, 3.0, jitter=lambda: 1.0)
        self.assertEqual([backoff.next_delay() for _ in range(5)], [0.5, 1.0, 2.0, 3.0, 3.0])

    def test_a_reset_begins_anew(self) -> None:
        backoff = Backoff(0.5, 3.0, jitter=lambda: 1.0)
        backoff.next_delay()
        backoff.reset()
        self.assertEqual(backoff.next_delay(), 0.5)

    def test_jitter_takes_up_to_half(self) -> None:
        self.assertEqual(Backoff(1.0, 8.0, jitter=lambda: 0.0).next_delay(), 0.5)
        delays = [Backoff(1.0, 8.0).next_delay() for _ in range(50)]
        self.assertTrue(all(0.5 <= delay <= 1.0 for delay in delays))
        self.assertGreater(len(set(delays)), 1)
