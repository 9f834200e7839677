"""The judgement itself: at the moment from which nothing may be given, and one millisecond past it."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from .judge import COMMANDS, LISTENS, PROTOCOLS, Record, faults, table

FINE = Record("tcp", "logout", 100.0, known=100.1, heard=99.9, obeyed=99.8, noticed=100.2, closed=100.1)


class JudgeTests(SynchronousTestCase):
    def test_what_was_sent_before_the_instance_knew_may_be_given(self) -> None:
        self.assertEqual(faults([FINE, evolve(FINE, heard=100.1, obeyed=100.1)]), [])

    def test_what_was_sent_when_the_instance_knew_may_not(self) -> None:
        early = ["tcp, logout: given what was sent after the instance knew of the ending"]
        self.assertEqual(faults([evolve(FINE, heard=100.101)]), early)
        self.assertEqual(faults([FINE, evolve(FINE, obeyed=100.101)]), early)
        self.assertEqual(faults([evolve(FINE, known=0.0)]), early)  # it never did

    def test_what_was_sent_within_the_second_may_be_given(self) -> None:
        slow = evolve(FINE, known=105.0)
        self.assertEqual(faults([evolve(slow, heard=101.0, obeyed=101.0)], by_the_clock=True), [])

    def test_what_was_sent_later_may_not(self) -> None:
        slow, late = evolve(FINE, known=105.0), ["tcp, logout: given something 1.001 s after the answer"]
        self.assertEqual(faults([evolve(slow, heard=101.001)], by_the_clock=True), late)
        self.assertEqual(faults([FINE, evolve(slow, obeyed=101.001)], by_the_clock=True), late)
        self.assertEqual(faults([evolve(slow, heard=101.001)]), [])

    def test_a_driver_that_stood_still_accuses_nobody(self) -> None:
        """It sees minutes later what had been sent in time."""
        slow = evolve(FINE, noticed=200.0, closed=200.0)
        self.assertEqual((faults([slow]), slow.lag, slow.seen), ([], 0.0, 100.0))

    def test_a_connection_must_end(self) -> None:
        self.assertEqual(faults([evolve(FINE, closed=None)]), ["tcp, logout: never ended"])

    def test_who_was_never_given_anything_proves_nothing(self) -> None:
        for protocol in PROTOCOLS:
            idle = faults([Record(protocol, "logout", answered=100.0, known=100.1, closed=100.1)])
            self.assertEqual(
                idle, [f"{protocol}, logout: was given nothing before, so its silence proves nothing"]
            )
            for needed, kinds in (("heard", LISTENS), ("obeyed", COMMANDS)):
                found = faults([evolve(FINE, protocol=protocol, **{needed: 0.0})])
                self.assertEqual(len(found), protocol in kinds, (protocol, needed))

    def test_the_figures(self) -> None:
        slow = evolve(FINE, heard=100.25, noticed=100.3, closed=100.4)
        *_, by_protocol, by_ending = table([FINE, slow]).splitlines()
        self.assertEqual(by_protocol.split(), ["tcp", "2", "125", "250", "300", "250", "400"])
        self.assertEqual(by_ending.split()[0], "logout")
