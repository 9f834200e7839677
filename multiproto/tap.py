"""The command `twistd multiproto`: reads flags and environment, and makes the server.

twistd installs the reactor after it has parsed the options, so nothing here may
import the reactor, directly or through Klein or Autobahn, before `makeService`.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from .config import Config, ConfigError, LoadedConfig, load_config
from .config.options import SettingOptions
from .config.settings import LogConfig
from .config.sources import SettingProblem
from .lifecycle import StartupError, report_to_operator
from .observe.log_sinks import RotatingFileSink, StreamSink
from .observe.process_log import STDOUT, ProcessLog, make_line_log, make_syslog_log
from .reactor.garbage import arrange_collections
from .workers.command import check_twistd_options, log_file
from .workers.worker import SupervisorLink

# Seconds after which the event loop lets another thread go on, where it has long work to do.  The thread that commits
# needs that some twenty times for each commit: with Python's 5 ms, durable publications beside a client that asked
# for introspection had a p99 of 0.18 instead of 0.11 s.  With 0.5 ms it is the same, and small requests cost a tenth more.
SWITCH_INTERVAL = 0.002


HELP_TEXT = """
Serves REST, WebSocket, GraphQL and framed TCP as one conversation: what is sent on one arrives on all.

Run it without any option to try it: in development it listens on loopback only, and keeps all it needs in
./data.

  twistd -n multiproto                              stay in the foreground, log to the terminal
  twistd -n multiproto --port 8080 --tcp-port 8081  elsewhere
  twistd -n multiproto --env production             on all interfaces
  twistd -n multiproto --workers 4                  as four processes, with PostgreSQL and Redis behind them
  twistd -n multiproto --config multiproto.toml     settings from a file
  twistd -n multiproto --set LOG_LEVEL=debug        any setting by its name

Every setting has a name such as TCP_PORT. It is taken from (later ones win) the defaults, the file (there:
tcp_port = 3001), .env in development, the environment, and these options. All names, with meanings and
defaults, are in .env.example; the ones you may need first:

  APP_ENV        development or production
  DATA_DIR       the embedded database, and the secret that signs tokens
  JWT_SECRET     that secret, if you want to choose it; JWT_SECRET_FILE names a file with it
  CORS_ORIGINS   web pages that may call, such as https://app.example.org
  DATABASE_URL   PostgreSQL instead of the embedded database; REDIS_URL for live topics beside it
  METRICS_HOST   who may read metrics; loopback unless you say so

To look at a configuration without starting, and at what is risky about it in production, give the same
options to: python -m multiproto check-config

Read on in README.md, and in docs/ for each protocol.
"""


class Options(SettingOptions):
    """The options of `twistd multiproto`."""

    def getUsage(self, width: int | None = None) -> str:
        """Twisted's list of the options, then our help text; as a `longdesc`, Twisted would wrap it."""
        return str(super().getUsage(width)) + HELP_TEXT


class ServerService(MultiService):
    """The parent of all services.  As the application that twistd runs, it also arranges the process.

    Then twistd logs through our observer.  In a service of somebody else (docs/operations.md#inside-another-service)
    the log, the garbage collector and the threads stay as their process has them.
    """

    _log = Logger()

    def __init__(self, process_log: ProcessLog, warnings: Sequence[SettingProblem] = ()) -> None:
        """`warnings` of the settings are logged at the start."""
        super().__init__()
        self._process_log = process_log
        self._warnings = warnings
        self._is_application = False

    def setServiceParent(self, parent: object) -> None:
        """twistd asks the application for its observer before it starts services."""
        if isinstance(parent, Componentized):
            self._is_application = True
            parent.setComponent(ILogObserver, self._process_log.observer)
        super().setServiceParent(parent)  # type: ignore[arg-type]

    def privilegedStartService(self) -> None:
        """Start the log's thread first: twistd has forked by now, and only the thread that forks lives on."""
        from twisted.internet import reactor

        if self._is_application:
            self._process_log.start(reactor)  # type: ignore[arg-type]
        super().privilegedStartService()

    def startService(self) -> None:
        """Start, exempt all objects that exist now from garbage collection, and let threads take turns sooner."""
        from twisted.internet import reactor

        for warning in self._warnings:
            self._log.warn("{problem}", problem=str(warning))
        super().startService()
        if self._is_application:
            arrange_collections(reactor)
            sys.setswitchinterval(SWITCH_INTERVAL)


def makeService(options: Options) -> IService:
    """Make everything, ready to start.  Invalid settings end the process: each on stderr, status 1."""
    twistd: Mapping[str, Any] = options.parent or {}
    supervisor = SupervisorLink.from_environment(os.environ, sys.stdin)
    if supervisor is not None:
        config = load_config_or_exit(supervisor.setting_texts, {}, folder=None).config
        return make_server(supervisor.worker_config(config), twistd, supervisor)
    loaded = load_config_or_exit(options.flag_settings(), os.environ, options.file)
    return (
        make_server(loaded.config, twistd, warnings=loaded.warnings)
        if loaded.config.workers == 1
        else make_supervised_server(loaded, twistd)
    )


def make_server(
    config: Config,
    twistd: Mapping[str, Any],
    supervisor: SupervisorLink | None = None,
    warnings: Sequence[SettingProblem] = (),
) -> ServerService:
    """The server itself: the only process, or a worker of a `supervisor`."""
    install_preferred_reactor()
    process_log = make_process_log(config.logs, twistd, supervisor)
    server = ServerService(process_log, warnings)
    make_service_on_reactor(config, supervisor, process_log).setServiceParent(server)
    return server


def install_preferred_reactor() -> None:
    """Install our epoll reactor, unless twistd was given another one or the system has no epoll."""
    if "twisted.internet.reactor" not in sys.modules and hasattr(select, "epoll"):
        from .reactor.epoll import install

        install()


def make_supervised_server(loaded: LoadedConfig, twistd: Mapping[str, Any]) -> ServerService:
    """The supervisor of several worker processes, in place of the server."""
    try:
        check_twistd_options(twistd)
    except StartupError as error:
        report_to_operator(str(error))
        raise
    install_preferred_reactor()
    from twisted.internet import reactor

    from .workers.wiring import make_supervisor_service

    process_log = make_process_log(loaded.config.logs, twistd)
    server = ServerService(process_log, loaded.warnings)
    make_supervisor_service(loaded, twistd, reactor, process_log).setServiceParent(server)
    return server


def load_config_or_exit(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    file: Path | None = None,
    folder: Path | None = Path(),
) -> LoadedConfig:
    try:
        return load_config(flags, environ, file, folder)
    except ConfigError as error:
        for problem in (*error.problems, *error.warnings):
            report_to_operator(str(problem))
        raise SystemExit(1) from None


def make_service_on_reactor(
    config: Config, supervisor: SupervisorLink | None, process_log: ProcessLog
) -> Any:
    """The server on the installed reactor."""
    from twisted.internet import reactor

    from .reactor.descriptors import raise_descriptor_limit
    from .server import make_service

    return make_service(
        config,
        reactor,
        supervisor,
        process_log=process_log,
        descriptor_limit=raise_descriptor_limit(),
    )


def make_process_log(
    settings: LogConfig, twistd: Mapping[str, Any], supervisor: SupervisorLink | None = None
) -> ProcessLog:
    """The log on stdout, in the file that twistd's options name, or in syslog where they ask for it."""
    if twistd.get("syslog"):
        return make_syslog_log(str(twistd.get("prefix") or "twisted"))
    worker = None if supervisor is None else supervisor.worker_number
    path = log_file(twistd)
    if path is None:
        pretty = os.isatty(STDOUT) if settings.pretty is None else settings.pretty
        return make_line_log(StreamSink(STDOUT), settings.level, pretty, worker)
    try:
        sink = RotatingFileSink(Path(path).absolute(), settings.file_size, settings.kept_files)
    except OSError as error:
        why = f"can't open the log file {path}: {error.strerror}"
        (report_to_operator if supervisor is None else supervisor.report_failure)(why)
        raise StartupError(why) from error
    return make_line_log(sink, settings.level, bool(settings.pretty), worker, has_file=True)
