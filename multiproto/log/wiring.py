"""Makes the services that follow, check and prune the log."""

from __future__ import annotations

from attrs import frozen

from ..core.wiring import Foundation
from .canary import Canary
from .clock_comparison import ClockComparison
from .eraser import Eraser
from .follower import Follower
from .instance_positions import InstancePositions
from .pruner import Pruner


@frozen(eq=False, repr=False)
class LogServices:
    clock_comparison: ClockComparison
    positions: InstancePositions | None  # where there may be other instances
    follower: Follower
    canary: Canary
    pruner: Pruner
    eraser: Eraser


def make_log_services(
    foundation: Foundation, *, audit_retention: float, pruning_step: float | None, is_shared: bool
) -> LogServices:
    """`audit_retention` is in seconds, as is `pruning_step`, of which `None` is no limit.

    `is_shared` says whether other instances may use the same store.
    """
    store, dispatcher, clock = foundation.store, foundation.dispatcher, foundation.clock
    follower = Follower(foundation.log, dispatcher, clock)
    store.on_commit(follower.wake)
    store.on_parted(follower.on_log_parted)
    foundation.metrics.log_position.set_function(lambda: dispatcher.position)
    foundation.metrics.log_lag.set_function(lambda: store.newest - dispatcher.position)
    wall_clock = foundation.wall_clock
    positions = InstancePositions(store, dispatcher, clock, foundation.new_id()) if is_shared else None
    pruner = Pruner(
        store,
        foundation.namespaces,
        dispatcher,
        clock,
        wall_clock,
        audit_retention=audit_retention,
        max_step=pruning_step,
        positions=positions,
    )
    foundation.metrics.log_pruning_overdue.set_function(lambda: pruner.overdue)
    return LogServices(
        ClockComparison(store, wall_clock, clock, delays_deletion=pruning_step is not None),
        positions,
        follower,
        Canary(store, dispatcher, clock, foundation.now, foundation.new_id),
        pruner,
        Eraser(store, clock),
    )
