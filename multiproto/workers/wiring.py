"""The supervisor as one service, wired from the same configuration as the server; it takes its place."""

from __future__ import annotations

import json
from typing import Any, Mapping

from twisted.application.service import Service

from ..banner import print_to_stdout, render_banner, startup_info
from ..config import LoadedConfig
from ..lifecycle import RunAtStart, ServiceSequence, SighupHandler
from .command import worker_command
from .shared_port import ReservedPort
from .supervisor import STOP_GRACE_PERIOD, Supervisor


def make_supervisor_service(loaded: LoadedConfig, twistd: Mapping[str, Any], reactor: Any) -> ServiceSequence:
    """`twistd` are the options that it was started with."""
    config = loaded.config
    house = ServiceSequence(reactor, config.shutdown_timeout + 2 * STOP_GRACE_PERIOD)
    workers = Supervisor(
        [worker_command(twistd, number) for number in range(config.workers)],
        json.dumps(dict(loaded.setting_texts)).encode() + b"\n",
        reactor,
        config.shutdown_timeout,
        house.exit_with_error_after_shutdown,
    )
    ports = {"http": config.http.port, "tcp": config.tcp.port, "metrics": config.metrics.port}

    def add(name: str, service: Service) -> None:
        service.setName(name)
        service.setServiceParent(house)

    if config.tcp.enabled:
        add("tcp", ReservedPort(config.tcp.host, config.tcp.port))
    add("http", ReservedPort(config.http.host, config.http.port))
    add("workers", workers)
    if config.has_reloadable_files:
        add("hangup", SighupHandler(reactor, (workers.reload,)))
    if config.environment == "development":
        add(
            "banner",
            RunAtStart(lambda: print_to_stdout(render_banner(startup_info(config, ports.__getitem__)))),
        )
    return house
