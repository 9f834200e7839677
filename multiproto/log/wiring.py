"""Makes the services that follow, check and prune the log."""

from __future__ import annotations

from typing import Callable, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..core.pubsub.dispatcher import Dispatcher
from ..core.pubsub.namespaces import Namespaces
from ..core.wiring import LoggedStore
from ..observe.metrics import Metrics
from .canary import Canary
from .follower import Follower
from .pruner import Pruner


class FollowedStore(LoggedStore, Protocol):
    """A store whose log is followed."""

    @property
    def newest(self) -> int:
        """Position of the log's newest entry, as far as this process knows."""

    def on_commit(self, waker: Callable[[], object]) -> None:
        """Call `waker` whenever the log has grown."""


@frozen(eq=False, repr=False)
class LogServices:
    follower: Follower
    canary: Canary
    pruner: Pruner


def make_log_services(
    *,
    store: FollowedStore,
    dispatcher: Dispatcher,
    namespaces: Namespaces,
    clock: IReactorTime,  # the epoch's seconds
    new_id: Callable[[], str],
    audit_retention: float,  # seconds
    metrics: Metrics,
) -> LogServices:
    follower = Follower(store, dispatcher, clock)
    store.on_commit(follower.wake)
    metrics.log_position.set_function(lambda: dispatcher.position)
    metrics.log_lag.set_function(lambda: store.newest - dispatcher.position)
    return LogServices(
        follower,
        Canary(store, dispatcher, clock, new_id),
        Pruner(store, namespaces, dispatcher, clock, clock.seconds, audit_retention),
    )
