"""The supervisor as one service, wired from the same configuration as the server, in whose place it runs."""

from __future__ import annotations

import json
from functools import partial
from signal import SIGHUP, SIGUSR1
from typing import Any, Mapping

from ..banner import render_banner, startup_info
from ..config import LoadedConfig
from ..lifecycle import NamedServices, RunAtStart, SignalHandler
from ..observe.process_log import ProcessLog
from .command import worker_command
from .shared_port import ReservedPort
from .supervisor import STOP_GRACE_PERIOD, Supervisor


def make_supervisor_service(
    loaded: LoadedConfig, twistd: Mapping[str, Any], reactor: Any, process_log: ProcessLog
) -> NamedServices:
    """All services of the supervisor's process, which twistd started with the options `twistd`."""
    config = loaded.config
    services = NamedServices(reactor, config.shutdown_timeout + 2 * STOP_GRACE_PERIOD)
    workers = Supervisor(
        [worker_command(twistd, number) for number in range(config.workers)],
        json.dumps(dict(loaded.setting_texts)).encode() + b"\n",
        reactor,
        config.shutdown_timeout,
        services.exit_with_error_after_shutdown,
    )
    ports = {"http": config.http.port, "tcp": config.tcp.port, "metrics": config.metrics.port}

    if config.tcp.enabled:
        services.add("tcp", ReservedPort(config.tcp.host, config.tcp.port, "TCP_"))
    services.add("http", ReservedPort(config.http.host, config.http.port, ""))
    services.add("workers", workers)
    # The workers have files of their own to open or read again.
    for name, number in (("reopen", SIGUSR1), ("hangup", SIGHUP)):
        if number == SIGUSR1 or process_log.has_file or config.has_reloadable_files:
            services.add(name, SignalHandler(number, reactor, (partial(workers.signal_all, number),)))
    if config.environment == "development":
        services.add(
            "banner",
            RunAtStart(
                lambda: process_log.print_to_stdout(render_banner(startup_info(config, ports.__getitem__)))
            ),
        )
    return services
