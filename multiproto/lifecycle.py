"""Services that wait for one another, from one list read both ways, and what becomes of the process if one fails.

Twisted's `MultiService` waits for nothing, so the database would close under
requests still being answered; `StreamServerEndpointService` only logs that a
port is taken; and `twistd` exits 0 whatever went wrong once the reactor runs.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, Callable, Iterable

from attrs import define
from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IPushProducer, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure


class StartFailed(Exception, SystemExit):
    """The start is off, and the operator knows why.

    An `Exception`, for twistd to remove its pid file and tell the parent of a
    daemon; a `SystemExit`, for Python to exit without a traceback.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.code = 1


def tell_operator(line: str) -> None:
    """On the process's own stderr: twistd has made `sys.stderr` a part of the log."""
    print(f"multiproto: {line}", file=sys.__stderr__, flush=True)


class Sequence(MultiService):
    """Starts its children first to last and stops them last to first, waiting for each.

    Ports are bound beforehand, when twistd starts services with privileges.
    A child that does not start ends the process with status 1: at once before
    the reactor runs, and after stopping what is up when it runs already.
    `shutdown_timeout` is seconds that a stop may take in all; what has not
    stopped by then is left to the end of the process.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,  # IReactorCore, IReactorTime
        shutdown_timeout: float,
        tell: Callable[[str], object] = tell_operator,
        exit: Callable[[int], object] = os._exit,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._shutdown_timeout = shutdown_timeout
        self._tell = tell
        self._exit = exit
        self._up: list[Service] = []  # started, or about to be
        self._starting: Deferred[None] | None = None
        self.ready = False  # all are up, and no stop has begun

    # Twisted calls these.

    def privilegedStartService(self) -> None:
        for service in self:
            try:
                service.privilegedStartService()
            except Exception as error:
                self._refuse(error)
                raise StartFailed(explained(error)) from error

    def startService(self) -> Deferred[None]:
        """Fires when all are up, or when there is nothing more to wait for."""
        Service.startService(self)
        self._starting = Deferred.fromCoroutine(self._start_in_turn())
        outcome = self._starting.result if self._starting.called else None
        self._starting.addErrback(self._give_up)
        if isinstance(outcome, Failure):  # the reactor does not run yet, and never will
            self._stop_all()
            raise StartFailed(explained(outcome.value))
        return self._starting

    def stopService(self) -> Deferred[None]:
        """Fires when all have stopped, or after `shutdown_timeout`."""
        Service.stopService(self)
        self._log.info("stopping")
        self.ready = False
        if self._starting is not None:
            self._starting.cancel()
        done: Deferred[None] = Deferred()
        deadline = self._reactor.callLater(self._shutdown_timeout, self._abandon, done)

        def stopped(_: None) -> None:
            if deadline.active():
                deadline.cancel()
                self._log.info("stopped")
                done.callback(None)

        self._stop_all().addCallback(stopped)
        return done

    # Behind them.

    async def _start_in_turn(self) -> None:
        for service in self:
            self._up.append(service)
            await maybeDeferred(service.startService)
        self.ready = True
        self._log.info("ready")

    def _stop_all(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop_in_turn())

    async def _stop_in_turn(self) -> None:
        while self._up:
            service = self._up[-1]
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                self._log.failure("{service} did not stop properly", service=_name(service))
            self._up = self._up[:-1]  # empty already, if it was abandoned

    def _abandon(self, done: Deferred[None]) -> None:
        self._log.warn(
            "stopping took more than {seconds} s: leaving {services} as they are",
            seconds=self._shutdown_timeout,
            services=", ".join(map(_name, reversed(self._up))),
        )
        self._up.clear()
        self.exit_at_last()
        done.callback(None)

    def _give_up(self, failure: Failure) -> None:
        """A child failed while the reactor runs, or a stop came before all were up."""
        if failure.check(CancelledError):
            return
        self._refuse(failure.value)
        self.exit_at_last()
        self._reactor.callWhenRunning(self._reactor.stop)

    def _refuse(self, error: BaseException | None) -> None:
        why = explained(error)
        self._log.critical("could not start: {why}", why=why)
        self._log.debug("{traceback}", traceback=Failure(error).getTraceback())
        self._tell(why)

    def exit_at_last(self) -> None:
        """With status 1 when everything else is done: twistd has no way to say it."""
        self._reactor.addSystemEventTrigger("after", "shutdown", self._exit, 1)


def explained(error: BaseException | None) -> str:
    """What went wrong, on one line for the operator."""
    if isinstance(error, CannotListenError):
        return f"can't listen on {error.interface}:{error.port}: {error.socketError.strerror}"
    text = " ".join(str(error).split())
    known = isinstance(error, OSError) or type(error).__module__ != "builtins"
    return text if known and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _spelled(port: IListeningPort | None) -> str:
    address: Any = port.getHost() if port is not None else None
    return f"{address.host}:{address.port}" if hasattr(address, "port") else str(address)


def _name(service: Service) -> str:
    return service.name or type(service).__name__


@define(eq=False, repr=False)
class Listener(Service):
    """An open port.  Bound with privileges, it takes connections when its turn to start comes."""

    _endpoint: IStreamServerEndpoint
    _factory: IProtocolFactory
    _early: bool = True  # bound with privileges; otherwise not before its turn
    port: IListeningPort | None = None
    _bound: Callable[[IListeningPort], object] = id  # told of the port, before it takes anybody

    _log = Logger()

    def privilegedStartService(self) -> None:
        """Bind.  Raises `CannotListenError`; clients that come before `startService` wait in the backlog."""
        super().privilegedStartService()
        if self._early:
            self.port = self._listen()
            if IPushProducer.providedBy(self.port):
                self.port.pauseProducing()

    def startService(self) -> None:
        super().startService()
        if self.port is None:
            self.port = self._listen()
        elif IPushProducer.providedBy(self.port):
            self.port.resumeProducing()
        self._log.info("{service} listens on {address}", service=self.name, address=_spelled(self.port))

    def _listen(self) -> IListeningPort:
        port = _at_once(self._endpoint.listen(self._factory))
        self._bound(port)
        return port

    def stopService(self) -> Deferred[None] | None:
        """Fires when no connection can come any more; those that are there stay."""
        super().stopService()
        port, self.port = self.port, None
        return port.stopListening() if port is not None else None


def _at_once(listening: Deferred[IListeningPort]) -> IListeningPort:
    """What the endpoint answered.  Twisted's own do so at once."""
    outcome: list[IListeningPort | Failure] = []
    listening.addBoth(outcome.append)
    (port,) = outcome
    if isinstance(port, Failure):
        port.raiseException()
    return port


@define(eq=False, repr=False)
class AtStart(Service):
    """One thing to be done when its turn to start comes."""

    _do: Callable[[], object]

    def startService(self) -> object:
        super().startService()
        return self._do()


@define(eq=False, repr=False)
class AtStop(Service):
    """One thing to be done when its turn to stop comes."""

    _do: Callable[[], object]

    def stopService(self) -> object:
        super().stopService()
        return self._do()


@define(eq=False, repr=False)
class Hangup(Service):
    """What is to be done on SIGHUP, each in its turn of the reactor."""

    _reactor: Any  # IReactorFromThreads
    _do: Iterable[Callable[[], object]]
    _before: Any = None  # who was told of it before us

    def startService(self) -> None:
        super().startService()
        self._before = signal.signal(signal.SIGHUP, self._asked)

    def stopService(self) -> None:
        super().stopService()
        signal.signal(signal.SIGHUP, self._before or signal.SIG_DFL)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        """Wherever the program just was; the reactor does it in its own time."""
        for each in self._do:
            self._reactor.callFromThread(each)


class House(Sequence):
    """The server's services by name."""

    def add(self, name: str, service: Service) -> None:
        service.setName(name)
        service.setServiceParent(self)

    def port(self, name: str) -> int:
        """The port that "http", "tcp" or "metrics" listens on."""
        listener: Listener = self.getServiceNamed(name)
        assert listener.port is not None
        return listener.port.getHost().port  # type: ignore[attr-defined, no-any-return]
