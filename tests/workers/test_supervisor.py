"""What the supervisor does about each worker's beginning and end; `live.test_workers` has real ones."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM, SIGUSR1
from typing import Any

from attrs import Factory, define
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.lifecycle import StartupError
from multiproto.workers.command import WorkerCommand
from multiproto.workers.supervisor import (
    MAX_RESTART_DELAY,
    MIN_RESTART_DELAY,
    STABLE_AFTER,
    STOP_GRACE_PERIOD,
    Supervisor,
)

SETTINGS = b'{"PORT": "3000"}\n'
STOP_WITHIN = 30.0  # seconds


@define(eq=False)
class Process:
    """A process as its transport shows it, which ends and speaks as the test says."""

    pid: int
    protocol: Any
    words: list[str]
    told: bytes = b""
    signals: list[str | int] = Factory(list)
    exited: bool = False

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        assert descriptor == 0
        self.told += data

    def signalProcess(self, name: str | int) -> None:
        if self.exited:
            raise ProcessExitedAlready()
        self.signals.append(name)

    def says(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.protocol.childDataReceived(3, piece)

    def ends(self, status: int | None = None, signal: int | None = None) -> None:
        end = ProcessDone(0) if status == 0 else ProcessTerminated(status, signal)
        self.protocol.processEnded(Failure(end))


class Reactor(MemoryReactorClock):
    """Starts `Process`es, unless there is no `room`."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.room = True

    def spawnProcess(
        self, protocol: Any, program: str, words: list[str], env: dict[str, str], childFDs: dict[int, object]
    ) -> Process:
        assert program == words[0] and env == {"N": words[1]} and childFDs == {0: "w", 1: 1, 2: 2, 3: "r"}
        if not self.room:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        process = Process(100 + len(self.processes), protocol, list(words))
        self.processes.append(process)
        protocol.makeConnection(process)
        return process


class WorkersCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.said: list[str] = []
        log = Logger(observer=lambda event: self.said.append(event["log_format"].format(**event)))
        self.patch(Supervisor, "_log", log)
        commands = [WorkerCommand(["worker", str(number)], {"N": str(number)}) for number in range(2)]
        self.jitter = 1.0
        self.workers = Supervisor(
            commands,
            SETTINGS,
            self.reactor,
            STOP_WITHIN,
            lambda: self.said.append("unclean"),
            jitter=lambda: self.jitter,
        )

    def started(self) -> list[Process]:
        """Both, ready; what was said about it is forgotten."""
        started = self.workers.startService()
        for process in self.reactor.processes:
            process.says(b"ready\n")
        self.successResultOf(started)
        self.said.clear()
        return self.reactor.processes[:]

    def pause(self) -> float:
        """Seconds until the next start, which is made."""
        count = len(self.reactor.processes)
        (call,) = self.reactor.getDelayedCalls()
        pause: float = call.getTime() - self.reactor.seconds()
        self.reactor.advance(pause)
        self.assertEqual(len(self.reactor.processes), count + 1)
        return round(pause, 6)


class StartTests(WorkersCase):
    def test_up_when_all_are_ready(self) -> None:
        """They begin together; each is told the settings."""
        started = self.workers.startService()
        first, second = self.reactor.processes
        self.assertEqual([each.told for each in self.reactor.processes], [SETTINGS, SETTINGS])
        second.says(b"ready\n")
        self.assertNoResult(started)
        first.says(b"rea", b"dy\n")
        self.successResultOf(started)
        self.assertEqual(
            self.said,
            [
                "worker 0 is process 100",
                "worker 1 is process 101",
                "worker 1 is ready",
                "worker 0 is ready",
            ],
        )

    def test_one_that_can_not_start_fails_all(self) -> None:
        """With its reason, once, whatever becomes of the others; nobody is started again."""
        started = self.workers.startService()
        first, second = self.reactor.processes
        second.says("failed can't listen on ä\n".encode())
        second.ends(1)
        failure = self.failureResultOf(started, StartupError)
        self.assertEqual(str(failure.value), "can't listen on ä")
        first.says(b"failed the same\n")
        first.ends(1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_says_nothing(self) -> None:
        started = self.workers.startService()
        self.reactor.processes[1].says(b"Traceback\n", b"x" * 100_000)
        self.reactor.processes[1].ends(signal=SIGKILL)
        failure = self.failureResultOf(started, StartupError)
        self.assertEqual(str(failure.value), "worker 1 ended by signal 9 before it was ready")

    def test_one_that_was_ready_before_another(self) -> None:
        """Its end is an accident; the start goes on."""
        started = self.workers.startService()
        first, second = self.reactor.processes
        first.says(b"ready\n")
        first.ends(signal=SIGKILL)
        second.says(b"ready\n")
        self.successResultOf(started)
        self.assertEqual(self.pause(), MIN_RESTART_DELAY)

    def test_stopped_while_starting(self) -> None:
        """As `Sequence` does it."""
        started = self.workers.startService()
        started.addErrback(lambda _: None)
        started.cancel()
        done = self.workers.stopService()
        for process in self.reactor.processes:
            self.assertEqual(process.signals, ["TERM"])
            process.ends(signal=SIGTERM)
        self.successResultOf(done)


class RestartTests(WorkersCase):
    def test_an_accident(self) -> None:
        """The same command with the same settings, while the other goes on."""
        first, second = self.started()
        self.reactor.advance(STABLE_AFTER)
        first.ends(signal=SIGKILL)
        self.assertEqual(self.pause(), MIN_RESTART_DELAY)
        again = self.reactor.processes[-1]
        again.says(b"ready\n")
        self.assertEqual((again.words, again.told, second.signals), (["worker", "0"], SETTINGS, []))
        self.assertEqual(
            self.said,
            [
                "worker 0 ended by signal 9; starting it again in 0.1 s",
                "worker 0 is process 102",
                "worker 0 is ready",
            ],
        )

    def test_one_that_does_not_last(self) -> None:
        """Each pause is twice the one before, up to the longest, until one lasts."""
        process, _ = self.started()
        pauses = []
        for _ in range(9):
            process.ends(1)
            pauses.append(self.pause())
            process = self.reactor.processes[-1]
        self.assertEqual(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, MAX_RESTART_DELAY, MAX_RESTART_DELAY])
        process.says(b"ready\n")
        self.reactor.advance(STABLE_AFTER - 0.1)
        process.ends(1)
        self.assertEqual(self.pause(), MAX_RESTART_DELAY)
        self.reactor.processes[-1].says(b"ready\n")
        self.reactor.advance(STABLE_AFTER)
        self.reactor.processes[-1].ends(1)
        self.assertEqual(self.pause(), MIN_RESTART_DELAY)

    def test_two_that_ended_together_come_back_apart(self) -> None:
        """As when both lost the database."""
        first, second = self.started()
        first.ends(1)
        self.assertEqual(self.pause(), MIN_RESTART_DELAY)
        self.jitter = 0.5
        second.ends(1)
        self.assertEqual(self.pause(), 0.075)

    def test_one_that_can_not_start_again(self) -> None:
        """It says why in the log, and is tried as often as it takes: the database may be away."""
        process, _ = self.started()
        process.ends(0)
        self.pause()
        self.said.clear()
        self.reactor.processes[-1].says(b"failed no database\n")
        self.reactor.processes[-1].ends(1)
        self.reactor.advance(0.2)
        self.assertEqual(
            self.said,
            [
                "worker 0 ended with status 1: no database; starting it again in 0.2 s",
                "worker 0 is process 103",
            ],
        )

    def test_no_room_for_a_process(self) -> None:
        """It is tried later."""
        process, _ = self.started()
        self.reactor.room = False
        process.ends(signal=SIGKILL)
        self.reactor.advance(0.1)
        self.reactor.room = True
        self.reactor.advance(0.2)
        self.assertEqual(
            self.said,
            [
                "worker 0 ended by signal 9; starting it again in 0.1 s",
                "worker 0 could not be started: Resource temporarily unavailable; starting it again in 0.2 s",
                "worker 0 is process 102",
            ],
        )


class StopTests(WorkersCase):
    def test_all_together(self) -> None:
        """Done when the last is gone; nothing was unclean, and nothing is left to do."""
        first, second = self.started()
        done = self.workers.stopService()
        self.assertEqual((first.signals, second.signals), (["TERM"], ["TERM"]))
        first.ends(signal=SIGTERM)
        self.assertNoResult(done)
        second.ends(0)
        self.successResultOf(done)
        self.assertEqual((self.said, self.reactor.getDelayedCalls()), ([], []))

    def test_one_that_hangs(self) -> None:
        """It has the time that it gives itself, and a little; then it is killed, and the stop was unclean."""
        first, second = self.started()
        done = self.workers.stopService()
        second.ends(signal=SIGTERM)
        self.reactor.advance(STOP_WITHIN + STOP_GRACE_PERIOD - 0.1)
        self.assertEqual(first.signals, ["TERM"])
        self.reactor.advance(0.1)
        self.assertEqual((first.signals, second.signals), (["TERM", "KILL"], ["TERM"]))
        self.assertNoResult(done)
        first.ends(signal=SIGKILL)
        self.successResultOf(done)
        self.assertEqual(
            self.said,
            ["worker 0 does not stop: killing it", "worker 0 ended by signal 9", "unclean"],
        )

    def test_one_that_stops_badly(self) -> None:
        first, second = self.started()
        done = self.workers.stopService()
        first.ends(1)
        second.ends(0)
        self.successResultOf(done)
        self.assertEqual(self.said, ["worker 0 ended with status 1", "unclean"])

    def test_one_that_is_to_be_started_again(self) -> None:
        """It is not."""
        first, second = self.started()
        first.ends(signal=SIGKILL)
        done = self.workers.stopService()
        second.ends(0)
        self.successResultOf(done)
        self.assertEqual((len(self.reactor.processes), self.reactor.getDelayedCalls()), (2, []))

    def test_one_that_has_just_exited(self) -> None:
        """Its end is known, and not told yet."""
        first, second = self.started()
        first.exited = True
        done = self.workers.stopService()
        first.ends(0)
        second.ends(0)
        self.successResultOf(done)


class SignalTests(WorkersCase):
    """Signals to read or open files again, which the supervisor passes on."""

    def test_each_gets_it(self) -> None:
        first, second = self.started()
        self.workers.signal_all(SIGUSR1)
        self.assertEqual((first.signals, second.signals), ([SIGUSR1], [SIGUSR1]))

    def test_one_that_is_starting_gets_it_later(self) -> None:
        """It may not heed the signal yet, and may have opened a file that was moved since."""
        self.workers.startService()
        first, second = self.reactor.processes
        first.says(b"ready\n")
        for _ in range(2):
            self.workers.signal_all(SIGUSR1)
        self.assertEqual((first.signals, second.signals), ([SIGUSR1, SIGUSR1], []))
        second.says(b"ready\n")
        self.assertEqual(second.signals, [SIGUSR1])

    def test_one_that_has_ended_is_not_started_for_it(self) -> None:
        first, second = self.started()
        first.ends(signal=SIGKILL)
        self.workers.signal_all(SIGUSR1)
        self.assertEqual((first.signals, second.signals), ([], [SIGUSR1]))
        self.pause()
        self.reactor.processes[-1].says(b"ready\n")
        self.assertEqual(self.reactor.processes[-1].signals, [])
