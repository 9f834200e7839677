"""`twistd multiproto`, without running a reactor; `live.test_twistd` has the rest."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
import syslog
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService, IServiceMaker, MultiService
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto import lifecycle, tap
from multiproto.config import Config
from multiproto.config.load import iter_settings
from multiproto.config.options import SETTING_BY_FLAG
from multiproto.config.settings import LogConfig
from multiproto.lifecycle import StartupError
from multiproto.observe import log_sinks
from multiproto.observe.process_log import ProcessLog
from multiproto.workers.worker import SupervisorLink

HELLO = {"log_level": LogLevel.info, "log_format": "hello", "log_time": 0.0, "log_namespace": "x"}


def stdout_for(case: SynchronousTestCase, descriptor: int | None = None) -> Path:
    """Have logs go to a file in place of standard output; or to another descriptor."""
    path = Path(case.mktemp())
    case.patch(tap, "STDOUT", open_file(case, path) if descriptor is None else descriptor)
    return path


def stderr_for(case: SynchronousTestCase) -> Path:
    """Have what the operator is to read go to a file in place of standard error."""
    path = Path(case.mktemp())
    case.patch(lifecycle, "STDERR", open_file(case, path))
    return path


def open_file(case: SynchronousTestCase, path: Path) -> int:
    file = path.open("wb")
    case.addCleanup(file.close)
    return file.fileno()


class OptionsTests(SynchronousTestCase):
    def options(self, *words: str) -> tap.Options:
        options = tap.Options()
        options.parseOptions(words)
        return options

    def test_flags_are_settings(self) -> None:
        options = self.options(
            "-p", "8080", "--data-dir", "/srv", "--set", "tcp_port=1", "--set", "APP_NAME=a=b"
        )
        self.assertEqual(
            options.flag_settings(), {"PORT": "8080", "DATA_DIR": "/srv", "TCP_PORT": "1", "APP_NAME": "a=b"}
        )

    def test_no_flag_sets_nothing(self) -> None:
        self.assertEqual(self.options().flag_settings(), {})

    def test_every_flag_names_a_setting(self) -> None:
        self.assertEqual(set(SETTING_BY_FLAG.values()) - {row.name for row, _ in iter_settings()}, set())

    def test_malformed_options_are_refused(self) -> None:
        for words in (("--set", "PORT"), ("--set", "=1"), ("--prot", "1"), ("one", "two")):
            self.assertRaises(usage.UsageError, self.options, *words)

    def test_the_nearest_option_is_named(self) -> None:
        for given, near in (("--prot", "--port"), ("--tcp_port=1", "--tcp-port"), ("--confg", "--config")):
            bad = self.assertRaises(usage.UsageError, self.options, given, "1")
            self.assertIn(f"is no option; the nearest is {near}", str(bad))

    def test_a_setting_that_is_given_twice_is_refused(self) -> None:
        for words in (("--set", "PORT=1", "--set", "port=2"), ("--port", "1", "--set", "PORT=2")):
            bad = self.assertRaises(usage.UsageError, self.options, *words)
            self.assertIn("--set PORT=", str(bad))

    def test_help_has_examples_and_names_of_settings(self) -> None:
        """Examples as they are typed, names of settings, and where to read on; no line over 120 characters."""
        lines = self.options().getUsage().splitlines()
        self.assertTrue(max(map(len, lines)) <= 120)
        for needed in (
            "  twistd -n multiproto --port 8080 --tcp-port 8081  elsewhere",
            "  JWT_SECRET     that secret, if you want to choose it; JWT_SECRET_FILE names a file with it",
            "Read on in README.md, and in docs/ for each protocol.",
        ):
            self.assertIn(needed, lines)


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_the_plugin(self) -> None:
        (plugin,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "multiproto"]
        self.assertIs(plugin.options, tap.Options)
        self.assertIs(plugin.makeService, tap.makeService)


class ConfiguredTests(SynchronousTestCase):
    def test_invalid_settings_are_reported(self) -> None:
        """All of them on stderr, one line each, and the process ends with status 1."""
        stderr = stderr_for(self)
        ended = self.assertRaises(SystemExit, tap.load_config_or_exit, {"PRT": "1", "PORT": "x"}, {})
        self.assertEqual(ended.code, 1)
        self.assertEqual(
            stderr.read_text().splitlines(),
            [
                "multiproto: PRT (flag) is no setting; the nearest is PORT",
                "multiproto: PORT (flag) must be a whole number from 1 to 65535, not 'x'",
            ],
        )


class MakeServiceCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.configs: list[Config] = []
        self.service = MultiService()
        self.supervisors: list[SupervisorLink | None] = []
        self.patch(tap, "make_service_on_reactor", self.make_service)
        self.stdout = stdout_for(self)
        self.patch(os, "environ", {"PORT": "1", "TCP_PORT": "2", "APP_ENV": "test"})

    def make_service(
        self, config: Config, supervisor: SupervisorLink | None, process_log: ProcessLog
    ) -> MultiService:
        self.configs.append(config)
        self.supervisors.append(supervisor)
        self.process_log = process_log
        return self.service

    def logged(self) -> str:
        self.process_log.finish()
        return self.stdout.read_text()

    def made(self, *words: str, **twistd: Any) -> Any:
        options = tap.Options()
        options.parent = twistd
        options.parseOptions(words)
        application = Application("multiproto")
        tap.makeService(options).setServiceParent(application)
        return application


class MakeServiceTests(MakeServiceCase):
    def test_settings_from_everywhere(self) -> None:
        file = Path(self.mktemp())
        file.write_text("metrics_port = 3\n")
        self.made("--config", str(file), "--tcp-port", "4")
        (config,) = self.configs
        self.assertEqual((config.http.port, config.tcp.port, config.metrics.port), (1, 4, 3))

    def test_the_application_uses_our_observer(self) -> None:
        application = self.made("--log-level", "warn")
        observer = ILogObserver(application)
        observer({"log_level": LogLevel.warn, "log_format": "careful", "log_time": 0.0, "log_namespace": "x"})
        observer({"log_level": LogLevel.info, "log_format": "nothing", "log_time": 0.0, "log_namespace": "x"})
        (line,) = self.logged().splitlines()
        self.assertEqual(json.loads(line)["message"], "careful")
        (server,) = IService(application)
        self.assertEqual(list(server), [self.service])
        self.assertEqual(self.supervisors, [None])

    def test_a_setting_that_is_ignored_is_warned_of(self) -> None:
        """Once, whether the server is one process, or the supervisor of several."""
        for environ in ({}, {**WorkersTests.SHARED, "WORKERS": "2", "APP_ENV": "development"}):
            events: list[LogEvent] = []
            globalLogPublisher.addObserver(events.append)
            self.addCleanup(globalLogPublisher.removeObserver, events.append)
            os.environ.update(environ, LOG_LEVLE="debug")
            server = tap.makeService(tap.Options())
            for service in list(server):
                service.disownServiceParent()  # only the server's own start
            self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
            server.startService()
            (event,) = [event for event in events if event.get("log_level") is LogLevel.warn]
            self.assertIn("LOG_LEVLE (environment) is no setting, and is ignored", formatEvent(event))

    def test_objects_of_the_start_are_exempt_from_garbage_collection(self) -> None:
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        self.addCleanup(gc.enable)
        frozen = gc.get_freeze_count()
        (server,) = IService(self.made())
        server.startService()
        self.assertGreater(gc.get_freeze_count(), frozen)
        self.assertAlmostEqual(sys.getswitchinterval(), tap.SWITCH_INTERVAL)


class EmbeddedTests(MakeServiceCase):
    """In a `MultiService` of somebody else."""

    def test_the_process_stays_as_it_is(self) -> None:
        everything, interval, frozen = MultiService(), sys.getswitchinterval(), gc.get_freeze_count()
        started: list[object] = []
        self.patch(ProcessLog, "start", lambda self, reactor: started.append(reactor))
        tap.makeService(tap.Options()).setServiceParent(everything)
        everything.privilegedStartService()
        everything.startService()
        self.assertTrue(self.service.running)
        self.assertEqual(started, [])
        self.assertEqual((sys.getswitchinterval(), gc.get_freeze_count()), (interval, frozen))
        self.successResultOf(everything.stopService())
        self.assertFalse(self.service.running)

    def test_in_one_that_runs(self) -> None:
        everything = MultiService()
        everything.startService()
        tap.makeService(tap.Options()).setServiceParent(everything)
        self.assertTrue(self.service.running)


class WorkersTests(MakeServiceCase):
    """One process, or a supervisor, or one of its workers."""

    SHARED = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "JWT_SECRET": "x" * 32}

    def test_one_worker_is_the_plain_server(self) -> None:
        (server,) = IService(self.made("--workers", "1"))
        self.assertEqual(list(server), [self.service])

    def test_several_workers_have_a_supervisor(self) -> None:
        """It reserves the ports and serves nothing."""
        os.environ.update(self.SHARED, APP_ENV="development")
        (server,) = IService(self.made("-w", "3"))
        (supervisor,) = server
        self.assertEqual(
            [service.name for service in supervisor], ["tcp", "http", "workers", "reopen", "banner"]
        )
        self.assertEqual(self.configs, [])

    def test_only_ports_that_are_served_are_reserved(self) -> None:
        os.environ.update(self.SHARED, TCP_ENABLED="false", METRICS_ENABLED="false", METRICS_PORT="65535")
        ((supervisor,),) = IService(self.made("-w", "3"))
        self.assertEqual([service.name for service in supervisor], ["http", "workers", "reopen"])

    def test_a_worker_has_the_settings_of_its_supervisor(self) -> None:
        """And no others; its log lines have its number."""
        os.environ.update(MULTIPROTO_WORKER="1", HOST="10.0.0.1")
        texts = {**self.SHARED, "WORKERS": "2", "APP_ENV": "development", "TCP_PORT": "7"}
        self.patch(tap.sys, "stdin", io.StringIO(json.dumps(texts) + "\n"))
        Path(".env").write_text("PORT=8\n")
        self.addCleanup(Path(".env").unlink)
        application = self.made("--tcp-port", "4")
        ((config,), (link,)) = (self.configs, self.supervisors)
        assert link is not None
        self.assertEqual(link.worker_number, 1)
        self.assertEqual(
            (config.http.host, config.http.port, config.tcp.port, config.metrics.port),
            ("127.0.0.1", 3000, 7, 9091),
        )
        ILogObserver(application)(HELLO)
        self.assertEqual(json.loads(self.logged())["worker"], 1)

    def test_options_of_twistd_that_workers_exclude(self) -> None:
        os.environ.update(self.SHARED)
        stderr = stderr_for(self)
        failed = self.assertRaises(StartupError, self.made, "-w", "2", uid=1000)
        self.assertEqual(failed.code, 1)
        self.assertEqual(stderr.read_text(), f"multiproto: {failed}\n")


class ProcessLogTests(SynchronousTestCase):
    def log_hello(self, logs: LogConfig, **twistd: Any) -> None:
        process_log = tap.make_process_log(logs, {"nodaemon": True, **twistd})
        process_log.observer(HELLO)
        process_log.finish()

    def test_readable_lines_on_a_terminal(self) -> None:
        primary, secondary = os.openpty()
        self.addCleanup(os.close, primary)
        self.addCleanup(os.close, secondary)
        stdout_for(self, secondary)
        self.log_hello(LogConfig())
        self.assertEqual(os.read(primary, 1000), b"00:00:00.000 info  hello\r\n")

    def test_readable_lines_where_configured(self) -> None:
        stdout = stdout_for(self)
        self.log_hello(LogConfig(pretty=True))
        self.assertEqual(stdout.read_text(), "00:00:00.000 info  hello\n")
        self.log_hello(LogConfig())
        self.assertEqual(json.loads(stdout.read_text().splitlines()[1])["message"], "hello")

    def test_in_the_log_file_of_twistd(self) -> None:
        stdout, path = stdout_for(self), Path(self.mktemp())
        self.log_hello(LogConfig(), logfile=str(path))
        self.assertEqual(stdout.read_text(), "")
        self.assertEqual(json.loads(path.read_text())["message"], "hello")

    def test_a_log_file_that_cannot_be_opened(self) -> None:
        stderr = stderr_for(self)
        failed = self.assertRaises(StartupError, self.log_hello, LogConfig(), logfile="/")
        self.assertEqual(str(failed), "can't open the log file /: Is a directory")
        self.assertEqual(stderr.read_text(), f"multiproto: {failed}\n")

    def test_a_worker_reports_that_to_its_supervisor(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        link = SupervisorLink(1, {}, writing)
        self.assertRaises(StartupError, tap.make_process_log, LogConfig(), {"logfile": "/"}, link)
        self.assertEqual(os.read(reading, 1000), b"failed can't open the log file /: Is a directory\n")

    def test_syslog(self) -> None:
        """As twistd writes it: its own form, an alert where something failed, a line each."""
        lines: list[tuple[int, str]] = []
        self.patch(log_sinks.syslog, "syslog", lambda priority, text: lines.append((priority, text)))
        process_log = tap.make_process_log(LogConfig(), {"syslog": True, "prefix": "chat"})
        process_log.observer({**HELLO, "log_format": "one\ntwo", "log_system": "x"})
        process_log.observer({**HELLO, "log_system": "y", "log_failure": Failure(KeyError("k"))})
        process_log.finish()
        self.assertEqual(lines[:2], [(syslog.LOG_INFO, "[x] one"), (syslog.LOG_INFO, "[x] \ttwo")])
        self.assertEqual(lines[2][0], syslog.LOG_ALERT)
