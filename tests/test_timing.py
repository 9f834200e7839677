"""Stop-watches, what `make prove` makes of them, free ports, and how a run deals its modules out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from . import ports, run, timing
from .prove import Measurement, Proof, measurements
from .run import dealt, slowest
from .timing import MEASUREMENTS, Stopwatch


class StopwatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.notes = Path(self.mktemp())
        self.clock = Clock()

    def measure(self, seconds: float) -> None:
        watch = Stopwatch(self.clock.seconds)
        self.clock.advance(seconds)
        watch.stop("a cut", 2.0)

    def test_the_longest_is_judged(self) -> None:
        self.patch(os, "environ", {MEASUREMENTS: str(self.notes)})
        for seconds in (1.0, 1.5, 0.5):
            self.measure(seconds)
        (found,) = measurements(self.notes)
        self.assertEqual((found, found.is_kept), (Measurement("a cut", 1.5, 2.0, 3), True))
        self.measure(2.0)
        (found,) = measurements(self.notes)
        self.assertEqual((found.seconds, found.is_kept), (2.0, False))

    def test_nothing_is_written_where_nobody_asks(self) -> None:
        self.patch(os, "environ", {})
        self.measure(5.0)
        self.assertEqual(list(measurements(self.notes)), [])

    def test_a_test_that_needs_a_stopwatch_is_skipped_elsewhere(self) -> None:
        for environment, skipped in (({}, True), ({MEASUREMENTS: "notes"}, False)):
            self.patch(os, "environ", environment)
            test = timing.only_by_stopwatch(lambda: None)
            self.assertEqual(hasattr(test, "skip"), skipped)


class ProofTests(SynchronousTestCase):
    def prove(self, program: str, measures: bool = False) -> bool:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "proof.py").write_text(program)
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": str(directory.absolute())})
        return Proof("p", ("proof",), ("^figure .*",), measures).run(directory.absolute())

    def test_the_status_of_the_command_decides(self) -> None:
        self.assertTrue(self.prove("print('figure 1')"))
        self.assertFalse(self.prove("raise SystemExit(1)"))

    def test_and_so_do_measurements(self) -> None:
        measured = "from tests.timing import measured; measured('a cut', {}, 2.0)"
        self.assertTrue(self.prove(measured.format(1.9), measures=True))
        self.assertFalse(self.prove(measured.format(2.0), measures=True))
        self.assertFalse(self.prove("", measures=True))  # measured nothing, proved nothing


class PortsTests(SynchronousTestCase):
    def test_a_program_can_listen_and_nobody_else_gets_the_port(self) -> None:
        first = ports.free_run(3)
        for port in range(first, first + 3):
            self.assertRaises(OSError, ports._reservation, port)
            for _ in range(2):  # as one that is started again
                socket.create_server((ports.HOST, port)).close()

    def test_reservations_are_bounded(self) -> None:
        found = ports.free_ports(ports.KEPT + 5)
        self.assertEqual((len(set(found)), len(ports._reserved)), (ports.KEPT + 5, ports.KEPT))


class DealingTests(SynchronousTestCase):
    def test_each_module_is_in_one_share(self) -> None:
        self.assertEqual(
            dealt(["tests.tcp", "tests.test_timing"], 1, {}), [["tests.tcp", "tests.test_timing"]]
        )
        shares = dealt(["tests.tcp", "tests.test_timing"], 2, {})
        modules = sorted(module for share in shares for module in share)
        there = [f"tests.tcp.{file.stem}" for file in (Path(__file__).parent / "tcp").glob("test_*.py")]
        self.assertEqual(modules, sorted([*there, "tests.test_timing"]))
        self.assertEqual(len(shares), 2)

    def test_shares_take_equally_long(self) -> None:
        """As far as it is known, and no share is left empty by one module that takes long."""
        known = {"tests.a": 9.0, "tests.b": 4.0, "tests.c": 4.0, "tests.gone": 99.0}
        shares = dealt(["tests.d", "tests.b", "tests.c", "tests.a"], 2, known)
        self.assertEqual(shares, [["tests.a"], ["tests.b", "tests.c", "tests.d"]])
        self.assertEqual(dealt(["tests.a"], 2, known), [["tests.a"]])

    def test_durations_are_remembered(self) -> None:
        """Those of modules that were not run are kept; a file that can't be read is as good as none."""
        self.patch(run, "DURATIONS", Path(self.mktemp()))
        self.assertEqual(run.known_durations(), {})
        run.remember({"tests.a": 1.0, "tests.b": 2.0})
        run.remember({"tests.b": 3.0})
        self.assertEqual(run.known_durations(), {"tests.a": 1.0, "tests.b": 3.0})
        run.DURATIONS.write_text("{")
        self.assertEqual(run.known_durations(), {})

    def test_the_slowest_are_named(self) -> None:
        files = [Path(self.mktemp()) for _ in range(2)]
        files[0].write_text('{"tests.a": 1.0, "tests.b": 4.0}')
        files[1].write_text('{"tests.a": 5.0}')
        self.assertEqual(slowest(run.seconds_in(files)), "slowest, in seconds: a 6, b 4")
