"""Makes the services that follow, check and prune the log."""

from __future__ import annotations

from attrs import frozen

from ..core.wiring import Foundation
from .canary import Canary
from .follower import Follower
from .pruner import Pruner


@frozen(eq=False, repr=False)
class LogServices:
    follower: Follower
    canary: Canary
    pruner: Pruner


def make_log_services(foundation: Foundation, *, audit_retention: float) -> LogServices:
    """`audit_retention` is in seconds."""
    store, dispatcher, clock = foundation.store, foundation.dispatcher, foundation.clock
    follower = Follower(foundation.log, dispatcher, clock)
    store.on_commit(follower.wake)
    store.on_parted(follower.on_log_parted)
    foundation.metrics.log_position.set_function(lambda: dispatcher.position)
    foundation.metrics.log_lag.set_function(lambda: store.newest - dispatcher.position)
    return LogServices(
        follower,
        Canary(store, dispatcher, clock, foundation.now, foundation.new_id),
        Pruner(store, foundation.namespaces, dispatcher, clock, foundation.wall_clock, audit_retention),
    )
