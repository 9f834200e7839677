"""Services that start in the order of a list and stop in reverse, each waiting for the one before.

Twisted's `MultiService` waits for nothing, so the database would close while
requests are still being answered; `StreamServerEndpointService` only logs that a
port is in use; and `twistd` exits with 0 whatever fails once the reactor runs.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from contextlib import suppress
from threading import Thread
from types import FrameType
from typing import Any, Callable, Iterable

from attrs import define
from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IPushProducer, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from .base.deadline import Deadline
from .base.one_line import one_line

STDERR = 2  # descriptor; twistd has made `sys.stderr` a part of the log
REPORT_TIMEOUT = 1.0  # seconds that a line for the operator may take to be written


class StartupError(Exception, SystemExit):
    """The server can't start, and the reason has been reported to the operator.

    An `Exception`, so that twistd removes its pid file and informs the parent of
    a daemon; a `SystemExit`, so that Python exits without a traceback.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.code = 1


def report_to_operator(line: str) -> None:
    """Print `line` on the process's own stderr at once; a reader that has stalled does not hold up the end."""
    printing = Thread(target=_print_to_stderr, args=(f"multiproto: {line}\n",), daemon=True)
    printing.start()
    printing.join(REPORT_TIMEOUT)


def _print_to_stderr(text: str) -> None:
    with suppress(OSError):  # nobody reads it any more
        os.write(STDERR, text.encode(errors="backslashreplace"))


class PortUnavailable(CannotListenError):
    """A port can't be listened on; its text says which settings are to be changed."""

    def __init__(self, error: CannotListenError, setting_prefix: str) -> None:
        """`setting_prefix` is what the names of its settings have before PORT and HOST, such as "TCP_"."""
        super().__init__(error.interface, error.port, error.socketError)
        self.setting_prefix = setting_prefix

    def __str__(self) -> str:
        port, host = f"{self.setting_prefix}PORT", f"{self.setting_prefix}HOST"
        match self.socketError:
            case OSError(errno=errno.EADDRINUSE):
                advice = (
                    f"; stop what listens there, or set {port} to another port. "
                    "A second server beside the first needs PORT, TCP_PORT, METRICS_PORT and DATA_DIR of its own"
                )
            case OSError(errno=errno.EACCES):
                advice = f"; set {port} to a port from 1024 on, which need no privileges"
            case OSError(errno=errno.EADDRNOTAVAIL) | socket.gaierror():
                inherited = ", or HOST where that is unset," if self.setting_prefix == "TCP_" else ""
                advice = f"; set {host}{inherited} to an address of this machine"
            case _:
                advice = ""
        return f"{port}: {_describe_listen_error(self)}{advice}"


class ServiceSequence(MultiService):
    """Starts its children first to last and stops them last to first, waiting for each.

    Ports are bound beforehand, when twistd starts services with privileges; a parent that does not, as one that is
    started by hand, has it done at the start.
    A child that can't start ends the process with status 1: at once before the
    reactor runs, and otherwise after the started children have stopped.
    `shutdown_timeout` is the seconds that a stop may take in all; children that
    have not stopped by then are abandoned.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,  # IReactorCore, IReactorTime
        shutdown_timeout: float,
        report_error: Callable[[str], object] = report_to_operator,
        exit: Callable[[int], object] = os._exit,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._shutdown_timeout = shutdown_timeout
        self._report_error = report_error
        self._exit = exit
        self._started_services: list[Service] = []  # started or starting
        self._startup: Deferred[None] | None = None
        self._is_prepared = False  # with privileges
        self.ready = False  # all have started, and no stop has begun

    # Twisted calls these.

    def privilegedStartService(self) -> None:
        self._is_prepared = True
        for service in self:
            try:
                service.privilegedStartService()
            except Exception as error:
                self._report_startup_error(error)
                raise StartupError(describe_error(error)) from error

    def startService(self) -> Deferred[None]:
        """Fires when all children have started, or when that has failed."""
        if not self._is_prepared:
            self.privilegedStartService()
        Service.startService(self)
        self._startup = Deferred.fromCoroutine(self._start_in_order())
        outcome = self._startup.result if self._startup.called else None
        self._startup.addErrback(self._on_startup_failed)
        if isinstance(outcome, Failure):  # the reactor does not run yet, and never will
            self._stop_all()
            raise StartupError(describe_error(outcome.value))
        return self._startup

    def stopService(self) -> Deferred[None]:
        """Fires when all children have stopped, or after `shutdown_timeout`."""
        Service.stopService(self)
        self._log.info("stopping")
        self.ready = False
        if self._startup is not None:
            self._startup.cancel()
        done: Deferred[None] = Deferred()
        deadline = Deadline(self._reactor)
        deadline.set(self._shutdown_timeout, lambda: self._on_shutdown_timeout(done))

        def stopped(_: None) -> None:
            if not done.called:
                deadline.cancel()
                self._log.info("stopped")
                done.callback(None)

        self._stop_all().addCallback(stopped)
        return done

    # Internals.

    async def _start_in_order(self) -> None:
        for service in self:
            self._started_services.append(service)
            await maybeDeferred(service.startService)
        self.ready = True
        self._log.info("ready")

    def _stop_all(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop_in_reverse_order())

    async def _stop_in_reverse_order(self) -> None:
        while self._started_services:
            service = self._started_services[-1]
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                self._log.failure("{service} did not stop properly", service=_service_name(service))
            self._started_services = self._started_services[:-1]  # already empty if the stop was abandoned

    def _on_shutdown_timeout(self, done: Deferred[None]) -> None:
        self._log.warn(
            "stopping took more than {seconds} s: leaving {services} as they are",
            seconds=self._shutdown_timeout,
            services=", ".join(map(_service_name, reversed(self._started_services))),
        )
        self._started_services.clear()
        self.exit_with_error_after_shutdown()
        done.callback(None)

    def _on_startup_failed(self, failure: Failure) -> None:
        """A child failed while the reactor runs, or a stop came before all had started."""
        if failure.check(CancelledError):
            return
        self._report_startup_error(failure.value)
        self.exit_with_error_after_shutdown()
        self._reactor.callWhenRunning(self._reactor.stop)

    def _report_startup_error(self, error: BaseException | None) -> None:
        why = describe_error(error)
        self._log.critical("could not start: {why}", why=why)
        self._log.debug("{traceback}", traceback=Failure(error).getTraceback())
        self._report_error(why)

    def exit_with_error_after_shutdown(self) -> None:
        """Exit with status 1 after the shutdown: twistd offers no way to do so."""
        self._reactor.addSystemEventTrigger("after", "shutdown", self._exit, 1)


def describe_error(error: BaseException | None) -> str:
    """The message of `error`, on one line for the operator."""
    if isinstance(error, CannotListenError) and not isinstance(error, PortUnavailable):
        return _describe_listen_error(error)
    text = one_line(error)
    known = isinstance(error, OSError) or type(error).__module__ != "builtins"
    return text if known and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _describe_listen_error(error: CannotListenError) -> str:
    host = f"[{error.interface}]" if ":" in error.interface else error.interface
    return f"can't listen on {host}:{error.port}: {error.socketError.strerror}"


def _format_address(port: IListeningPort | None) -> str:
    address: Any = port.getHost() if port is not None else None
    return f"{address.host}:{address.port}" if hasattr(address, "port") else str(address)


def _service_name(service: Service) -> str:
    return service.name or type(service).__name__


@define(eq=False, repr=False)
class ListenerService(Service):
    """A listening port: bound with privileges, it accepts connections once it is started."""

    _endpoint: IStreamServerEndpoint
    _factory: IProtocolFactory
    _bind_early: bool = True  # bind with privileges, otherwise in `startService`
    listening_port: IListeningPort | None = None
    _on_bound: Callable[[IListeningPort], object] = id  # called with the port before it accepts connections
    _setting_prefix: str | None = None  # as `PortUnavailable` has it, where settings say which port it is

    _log = Logger()

    def privilegedStartService(self) -> None:
        """Bind the port; until `startService`, clients wait in the backlog.

        Raises `CannotListenError`, as `PortUnavailable` where a setting says which port it is.
        """
        super().privilegedStartService()
        if self._bind_early:
            self.listening_port = self._listen()
            if IPushProducer.providedBy(self.listening_port):
                self.listening_port.pauseProducing()

    def startService(self) -> None:
        super().startService()
        if self.listening_port is None:
            self.listening_port = self._listen()
        elif IPushProducer.providedBy(self.listening_port):
            self.listening_port.resumeProducing()
        self._log.info(
            "{service} listens on {address}", service=self.name, address=_format_address(self.listening_port)
        )

    def _listen(self) -> IListeningPort:
        try:
            port = _immediate_result(self._endpoint.listen(self._factory))
        except CannotListenError as error:
            if self._setting_prefix is None:
                raise
            raise PortUnavailable(error, self._setting_prefix) from error
        self._on_bound(port)
        return port

    def stopService(self) -> Deferred[None] | None:
        """Fires when the port is closed; open connections stay."""
        super().stopService()
        port, self.listening_port = self.listening_port, None
        return port.stopListening() if port is not None else None


def _immediate_result(listening: Deferred[IListeningPort]) -> IListeningPort:
    """The result of an endpoint that has one at once, as Twisted's own do."""
    outcome: list[IListeningPort | Failure] = []
    listening.addBoth(outcome.append)
    (port,) = outcome
    if isinstance(port, Failure):
        port.raiseException()
    return port


@define(eq=False, repr=False)
class RunAtStart(Service):
    """Calls `action` when it is started."""

    _action: Callable[[], object]

    def startService(self) -> object:
        super().startService()
        return self._action()


@define(eq=False, repr=False)
class RunAtStop(Service):
    """Calls `action` when it is stopped."""

    _action: Callable[[], object]

    def stopService(self) -> object:
        super().stopService()
        return self._action()


@define(eq=False, repr=False)
class SignalHandler(Service):
    """Calls `actions` in the reactor when the process gets a signal, besides what was done on it before."""

    _number: int  # of the signal
    _reactor: Any  # IReactorFromThreads
    _actions: Iterable[Callable[[], object]]
    _previous_handler: Any = None  # restored by `stopService`

    def startService(self) -> None:
        super().startService()
        self._previous_handler = signal.signal(self._number, self._on_signal)

    def stopService(self) -> None:
        super().stopService()
        signal.signal(self._number, self._previous_handler or signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The signal may interrupt any code, so the reactor makes the calls later."""
        if callable(self._previous_handler):
            self._previous_handler(number, frame)
        for action in self._actions:
            self._reactor.callFromThread(action)


class NamedServices(ServiceSequence):
    """A `ServiceSequence` whose children have names."""

    def add(self, name: str, service: Service) -> None:
        service.setName(name)
        service.setServiceParent(self)

    def port_number(self, name: str) -> int:
        """The port that "http", "tcp" or "metrics" listens on."""
        listener: ListenerService = self.getServiceNamed(name)
        assert listener.listening_port is not None
        return listener.listening_port.getHost().port  # type: ignore[attr-defined, no-any-return]
