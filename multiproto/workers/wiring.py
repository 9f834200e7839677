"""The supervisor as one service, wired from the same configuration as the server; it takes its place."""

from __future__ import annotations

import json
from typing import Any, Mapping

from twisted.application.service import Service

from ..banner import banner, show, started
from ..config import Loaded
from ..lifecycle import AtStart, Hangup, Sequence
from .command import command
from .port import HeldPort
from .supervisor import GRACE, Workers


def make_supervisor(loaded: Loaded, twistd: Mapping[str, Any], reactor: Any) -> Sequence:
    """`twistd` are the options that it was started with."""
    config = loaded.config
    house = Sequence(reactor, config.shutdown_timeout + 2 * GRACE)
    workers = Workers(
        [command(twistd, number) for number in range(config.workers)],
        json.dumps(dict(loaded.texts)).encode() + b"\n",
        reactor,
        config.shutdown_timeout,
        house.exit_at_last,
    )
    ports = {"http": config.http.port, "tcp": config.tcp.port, "metrics": config.metrics.port}

    def add(name: str, service: Service) -> None:
        service.setName(name)
        service.setServiceParent(house)

    if config.tcp.enabled:
        add("tcp", HeldPort(config.tcp.host, config.tcp.port))
    add("http", HeldPort(config.http.host, config.http.port))
    add("workers", workers)
    if config.rereads:
        add("hangup", Hangup(reactor, (workers.hang_up,)))
    if config.environment == "development":
        add("banner", AtStart(lambda: show(banner(started(config, ports.__getitem__)))))
    return house
