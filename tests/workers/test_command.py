"""How workers are started, by what twistd was told about their supervisor."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from multiproto.lifecycle import StartupError
from multiproto.workers.command import check_twistd_options, log_file, worker_command


def twistd(*words: str) -> Any:
    options = ServerOptions()
    options.parseOptions([*words, "multiproto"])
    return options


class CommandTests(SynchronousTestCase):
    START = (sys.executable, "-m", "multiproto.workers", "--nodaemon", "--pidfile=")

    def words(self, *options: str) -> tuple[str, ...]:
        words = tuple(worker_command(twistd(*options), 1).arguments)
        self.assertEqual((words[:5], words[-1]), (self.START, "multiproto"))
        return words[5:-1]

    def test_in_the_foreground(self) -> None:
        """The log goes where the supervisor's goes; no settings are among the words, for all to see."""
        self.assertEqual(self.words("-n"), ("--prefix=twisted",))
        self.assertEqual(tuple(worker_command({}, 1).arguments), (*self.START, "multiproto"))

    def test_in_the_background(self) -> None:
        """twistd's log file, with the worker's number: two that write to one would rename it under each other."""
        here = os.getcwd()
        self.assertEqual(self.words(), ("--prefix=twisted", f"--logfile={here}/twistd-worker1.log"))
        self.assertEqual(
            self.words("-n", "-l", "/var/log/m.log"), ("--prefix=twisted", "--logfile=/var/log/m-worker1.log")
        )

    def test_syslog(self) -> None:
        self.assertEqual(self.words("--syslog", "--prefix=chat"), ("--prefix=chat", "--syslog"))

    def test_it_knows_which_it_is(self) -> None:
        self.patch(os, "environ", {"PATH": "/bin"})
        self.assertEqual(worker_command({}, 7).environment, {"PATH": "/bin", "MULTIPROTO_WORKER": "7"})
        self.assertNotIn("PATH", repr(worker_command({}, 7)))

    def test_the_reactor_that_was_chosen(self) -> None:
        self.assertIn("--reactor=asyncio", worker_command({"reactor": "asyncio"}, 0).arguments)


class CheckTests(SynchronousTestCase):
    def test_what_can_not_be_had(self) -> None:
        """The right to start a worker again would be gone."""
        check_twistd_options(twistd("-n"))
        check_twistd_options({})
        for option, value in (("uid", 0), ("gid", 1000), ("chroot", "/srv")):
            failed = self.assertRaises(StartupError, check_twistd_options, {option: value})
            self.assertIn(f"--{option} can't be had with workers", str(failed))


class LogFileTests(SynchronousTestCase):
    def test_where(self) -> None:
        for words, name in (
            (("-n",), None),
            ((), "twistd.log"),
            (("-l", "a.log"), "a.log"),
            (("-l", "-"), None),
        ):
            self.assertEqual(log_file(twistd(*words)), name)
        self.assertIsNone(log_file({}))
