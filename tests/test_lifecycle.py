"""How services start and stop in turn, and what becomes of the process when one fails."""

from __future__ import annotations

import contextlib  # trial takes a `suppress` of this module for its own
import errno
import os
import signal
from typing import Any, Callable

from attrs import Factory, define
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory as ProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from multiproto import lifecycle
from multiproto.lifecycle import (
    ListenerService,
    ServiceSequence,
    SignalHandler,
    StartupError,
    describe_error,
    report_to_operator,
)


class Reactor(MemoryReactorClock):
    """Keeps what is to be done after the shutdown, and whether it was told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.at_last: list[Callable[[], object]] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Any, *args: Any) -> None:
        assert (phase, event) == ("after", "shutdown")
        self.at_last.append(lambda: call(*args))


@define(eq=False, repr=False)
class Step(Service):
    _name: str
    _diary: list[str]
    up: Deferred[None] = Factory(Deferred)
    down: Deferred[None] = Factory(Deferred)

    def startService(self) -> Deferred[None]:
        self._diary.append(f"start {self._name}")
        return self.up

    def stopService(self) -> Deferred[None]:
        self._diary.append(f"stop {self._name}")
        return self.down


class SequenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.diary: list[str] = []  # of the services, of the operator, and of the process
        self.store, self.port = Step("store", self.diary), Step("port", self.diary)
        self.house = ServiceSequence(
            self.reactor, 30.0, lambda line: self.diary.append(f"told: {line}"), self.diary.append
        )
        self.store.setServiceParent(self.house)
        self.port.setServiceParent(self.house)

    def all_up(self) -> None:
        self.house.privilegedStartService()
        self.house.startService()
        self.store.up.callback(None)
        self.port.up.callback(None)
        self.diary.clear()

    def test_one_list_read_both_ways(self) -> None:
        """The port opens once the store is up, and closes before the store does."""
        self.house.startService()
        self.assertEqual(self.diary, ["start store"])
        self.store.up.callback(None)
        self.assertFalse(self.house.ready)
        self.port.up.callback(None)
        self.assertTrue(self.house.ready)
        done = self.house.stopService()
        self.assertFalse(self.house.ready)
        self.assertEqual(self.diary, ["start store", "start port", "stop port"])
        self.port.down.callback(None)
        self.assertNoResult(done)
        self.store.down.callback(None)
        self.successResultOf(done)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.reactor.at_last, [])

    def test_a_parent_that_gives_no_privileges(self) -> None:
        """What is to be done with them is done at the start, once."""
        prepared: list[str] = []
        self.patch(self.store, "privilegedStartService", lambda: prepared.append("store"))
        self.house.startService()
        self.assertEqual((prepared, self.diary), (["store"], ["start store"]))

    def test_a_parent_that_gives_privileges(self) -> None:
        prepared: list[str] = []
        self.patch(self.store, "privilegedStartService", lambda: prepared.append("store"))
        self.house.privilegedStartService()
        self.house.startService()
        self.assertEqual((prepared, self.diary), (["store"], ["start store"]))

    def test_a_child_that_fails_at_once(self) -> None:
        """Before the reactor runs, the process ends there: one line, status 1."""
        self.store.up.callback(None)
        self.port.up.errback(OSError(13, "Permission denied"))
        failed = self.assertRaises(StartupError, self.house.startService)
        self.assertEqual((failed.code, isinstance(failed, SystemExit)), (1, True))
        self.assertEqual(
            self.diary, ["start store", "start port", "told: [Errno 13] Permission denied", "stop port"]
        )
        self.assertFalse(self.house.ready)

    def test_a_child_that_fails_later(self) -> None:
        """While the reactor runs, it is stopped in order and the process ends with status 1."""
        self.house.startService()
        self.store.up.errback(StartupError("no database"))
        self.assertEqual(self.diary, ["start store", "told: no database"])
        self.reactor.run()
        self.assertTrue(self.reactor.hasStopped)
        done = self.house.stopService()
        self.store.down.callback(None)
        self.successResultOf(done)
        for last in self.reactor.at_last:
            last()
        self.assertEqual(self.diary, ["start store", "told: no database", "stop store", 1])

    def test_a_port_that_can_not_be_bound(self) -> None:
        """Nothing is started then."""
        self.port.privilegedStartService = lambda: fail_now(OSError("taken"))  # type: ignore[method-assign]
        self.assertRaises(StartupError, self.house.privilegedStartService)
        self.assertEqual(self.diary, ["told: taken"])

    def test_stopped_while_starting(self) -> None:
        self.house.startService()
        done = self.house.stopService()
        self.store.down.callback(None)
        self.successResultOf(done)
        self.assertEqual(self.diary, ["start store", "stop store"])

    def test_a_stop_has_its_time(self) -> None:
        """What does not end within SHUTDOWN_TIMEOUT is left, and the process ends all the same.

        docs/predecessor-faults.md#fault-24
        """
        said = self.logged()
        self.all_up()
        done = self.house.stopService()
        self.reactor.advance(29.9)
        self.assertNoResult(done)
        self.reactor.advance(0.1)
        self.successResultOf(done)
        self.assertEqual(
            said, ["ready", "stopping", "stopping took more than 30.0 s: leaving Step, Step as they are"]
        )
        for last in self.reactor.at_last:
            last()
        self.assertEqual(self.diary, ["stop port", 1])
        self.port.down.callback(None)  # too late to be of interest
        self.assertEqual(self.diary, ["stop port", 1])

    def test_a_child_that_can_not_stop(self) -> None:
        """The others are stopped all the same."""
        self.all_up()
        done = self.house.stopService()
        self.port.down.errback(KeyError("socket"))
        self.store.down.callback(None)
        self.successResultOf(done)
        self.assertEqual(self.diary, ["stop port", "stop store"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def logged(self) -> list[str]:
        lines: list[str] = []
        log = Logger(observer=lambda event: lines.append(event["log_format"].format(**event)))
        self.patch(ServiceSequence, "_log", log)
        return lines


def fail_now(error: Exception) -> None:
    raise error


class ExplainedTests(SynchronousTestCase):
    def test_one_line_whatever_happened(self) -> None:
        told = {
            describe_error(error) for error in (OSError("disk\nfull"), StartupError("no key"), KeyError("x"))
        }
        self.assertEqual(told, {"disk full", "no key", "KeyError: 'x'"})

    def test_nothing_to_say(self) -> None:
        self.assertEqual(describe_error(StartupError("")), "StartupError")


@define
class Refusing:
    error: Exception = Factory(lambda: OSError("no such interface"))

    def listen(self, factory: object) -> Deferred[Any]:
        return fail(self.error)


class ListenerTests(SynchronousTestCase):
    """With real ports of the kernel's choice; nothing connects to them."""

    def listener(self, port: int = 0, early: bool = True) -> ListenerService:
        factory = ProtocolFactory.forProtocol(Protocol)
        return ListenerService(TCP4ServerEndpoint(reactor, port, interface="127.0.0.1"), factory, early)

    def test_takes_connections_only_once_started(self) -> None:
        listener = self.listener()
        listener.privilegedStartService()
        self.addCleanup(listener.stopService)
        self.assertNotIn(listener.listening_port, reactor.getReaders())
        listener.startService()
        self.assertIn(listener.listening_port, reactor.getReaders())

    def test_one_that_is_not_early(self) -> None:
        """Nobody waits where others could serve."""
        listener = self.listener(early=False)
        listener.privilegedStartService()
        self.assertIsNone(listener.listening_port)
        listener.startService()
        self.addCleanup(listener.stopService)
        self.assertIn(listener.listening_port, reactor.getReaders())

    def test_a_taken_port_fails_the_start(self) -> None:
        """A taken port must not exit 0."""
        first = self.listener()
        first.startService()
        self.addCleanup(first.stopService)
        assert first.listening_port is not None
        number = first.listening_port.getHost().port
        second = self.listener(number)
        error = self.assertRaises(CannotListenError, second.privilegedStartService)
        self.assertEqual(describe_error(error), f"can't listen on 127.0.0.1:{number}: Address already in use")

    def test_which_setting_and_what_to_do(self) -> None:
        second = (
            "; stop what listens there, or set {}PORT to another port. A second server beside the first needs "
            "PORT, TCP_PORT, METRICS_PORT and DATA_DIR of its own"
        )
        for number, advice in (
            (errno.EADDRINUSE, second),
            (errno.EACCES, "; set {}PORT to a port from 1024 on, which need no privileges"),
            (errno.EADDRNOTAVAIL, "; set {}HOST{} to an address of this machine"),
            (errno.EMFILE, ""),
        ):
            for prefix, address in (("", "127.0.0.1"), ("TCP_", "::1"), ("METRICS_", "192.0.2.1")):
                why = os.strerror(number)
                listener = ListenerService(
                    Refusing(CannotListenError(address, 80, OSError(number, why))),  # type: ignore[arg-type]
                    ProtocolFactory.forProtocol(Protocol),
                    setting_prefix=prefix,
                )
                error = self.assertRaises(CannotListenError, listener.privilegedStartService)
                shown = "[::1]" if address == "::1" else address
                follows = ", or HOST where that is unset," if prefix == "TCP_" else ""
                self.assertEqual(
                    describe_error(error),
                    f"{prefix}PORT: can't listen on {shown}:80: {why}{advice.format(prefix, follows)}",
                )

    def test_an_endpoint_that_refuses(self) -> None:
        listener = ListenerService(Refusing(), ProtocolFactory.forProtocol(Protocol))  # type: ignore[arg-type]
        self.assertRaises(OSError, listener.startService)
        self.assertIsNone(listener.stopService())

    def test_stops_once_and_for_all(self) -> None:
        listener = self.listener()
        listener.startService()
        port = listener.listening_port
        listener.stopService()
        self.assertNotIn(port, reactor.getReaders())
        self.assertIsNone(listener.stopService())


class HangupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.done: list[str] = []
        todo = [lambda: self.done.append("certificate"), lambda: self.done.append("keys")]
        self.hangup = SignalHandler(signal.SIGHUP, self, todo)

    def callFromThread(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def test_all_is_done_in_the_reactors_own_time(self) -> None:
        self.hangup.startService()
        self.addCleanup(self.hangup.stopService)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.done, [])
        for call in self.calls:
            call()
        self.assertEqual(self.done, ["certificate", "keys"])

    def test_the_signal_goes_back_to_whose_it_was(self) -> None:
        before = signal.getsignal(signal.SIGHUP)
        self.hangup.startService()
        self.assertNotEqual(signal.getsignal(signal.SIGHUP), before)
        self.hangup.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    def test_what_was_done_on_it_before_is_done_first(self) -> None:
        before = signal.signal(signal.SIGHUP, lambda number, frame: self.done.append(f"before {number}"))
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.hangup.startService()
        self.addCleanup(self.hangup.stopService)
        os.kill(os.getpid(), signal.SIGHUP)
        for call in self.calls:
            call()
        self.assertEqual(self.done, ["before 1", "certificate", "keys"])


class OperatorTests(SynchronousTestCase):
    """What a start that fails has to say, on a standard error that is a pipe."""

    def setUp(self) -> None:
        self.reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        self.patch(lifecycle, "STDERR", writing)

    def test_it_is_there_at_once(self) -> None:
        report_to_operator("no \udc80 key")
        self.assertEqual(os.read(self.reading, 100), b"multiproto: no \\udc80 key\n")
        os.close(self.reading)

    def test_nobody_reads(self) -> None:
        self.patch(lifecycle, "REPORT_TIMEOUT", 0.01)
        os.set_blocking(lifecycle.STDERR, False)
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(lifecycle.STDERR, b"x" * 4096)
        os.set_blocking(lifecycle.STDERR, True)
        report_to_operator("no key")
        line = b"multiproto: no key\n"
        with open(self.reading, "rb") as reader:  # which lets its thread end
            self.assertEqual(reader.read(filled + len(line))[filled:], line)

    def test_the_reader_has_gone(self) -> None:
        os.close(self.reading)
        report_to_operator("no key")
        self.assertEqual(self.flushLoggedErrors(), [])
