"""What every store is besides its port: a service that starts before anybody is served and stops after everybody."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.application.service import Service

from ..core.ports import LogStore


@define(eq=False, repr=False)
class StoreService(Service, LogStore):
    """The base class of a store.

    `open` may be called before `startService`, which otherwise calls it.  Both
    fail with `StoreUnusable`, one line for the operator.
    """

    _commit_listeners: list[Callable[[], object]] = field(factory=list, init=False)
    _parting_listeners: list[Callable[[], object]] = field(factory=list, init=False)

    def open(self) -> None:
        """Check the database and apply pending migrations.  Blocks."""
        raise NotImplementedError

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self.open()

    def on_commit(self, listener: Callable[[], object]) -> None:
        self._commit_listeners.append(listener)

    def on_parted(self, listener: Callable[[], object]) -> None:
        self._parting_listeners.append(listener)

    def _notify_parted(self) -> None:
        for listener in self._parting_listeners:
            listener()

    def _notify_commit(self) -> None:
        for listener in self._commit_listeners:
            listener()
