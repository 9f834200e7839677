"""How the server is put together; `live` has what it does then."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import Config
from multiproto.config.load import load_config
from multiproto.observe.log_sinks import StreamSink
from multiproto.observe.process_log import STDOUT, make_line_log
from multiproto.server import make_service
from multiproto.wire import Wire
from multiproto.wire_table import WIRES
from multiproto.workers.worker import SupervisorLink

SHARED = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "JWT_SECRET": "x" * 32}
WITH_KEY_FILE = {"JWT_PRIVATE_KEY_FILE": "key.pem"}


class StartOrderTests(SynchronousTestCase):
    def names(self, supervisor: SupervisorLink | None = None, **environ: str) -> list[str | None]:
        """Of the services, in the order in which they start."""
        config = load_config({}, {"APP_ENV": "test", **environ}, None).config
        process_log = make_line_log(StreamSink(STDOUT), "info", pretty=False)
        services = make_service(config, reactor, supervisor, process_log=process_log)
        return [service.name for service in services]

    def test_of_one_process(self) -> None:
        """What others stand on comes first; requests are answered before the hub ends connections, and those
        before HTTP closes the rest."""
        self.assertEqual(
            self.names(APP_ENV="development"),
            [
                *(
                    "wall-clock",
                    "store",
                    "clock-comparison",
                    "keys",
                    "passwords",
                    "credential-usage",
                    "failed-attempts",
                ),
                *("operators", "follower", "canary", "pruner", "eraser", "reactor-lag", "metrics"),
                *("http-close", "hub", "http-drain", "tcp", "http", "banner"),
            ],
        )

    def test_of_a_worker(self) -> None:
        self.assertEqual(
            self.names(SupervisorLink(0, {}), METRICS_ENABLED="false", **SHARED, **WITH_KEY_FILE),
            [
                *(
                    "supervisor-watcher",
                    "wall-clock",
                    "store",
                    "clock-comparison",
                    "keys",
                    "sighup",
                    "passwords",
                    "credential-usage",
                ),
                *("broker", "shared-limits", "failed-attempts"),
                *("operators", "instance-positions", "follower", "canary", "pruner", "eraser", "reactor-lag"),
                *("http-close", "hub", "http-drain", "tcp", "http", "ready-report"),
            ],
        )

    def test_a_protocol_that_is_off_has_no_port(self) -> None:
        self.assertNotIn("tcp", self.names(TCP_ENABLED="false"))


class WireTests(SynchronousTestCase):
    def counted(self, config: Config, *wires: Any) -> list[str]:
        """The names under which metrics count connections."""
        service = make_service(config, reactor, wires=wires or WIRES)
        metrics = service.getServiceNamed("metrics")._factory.resource._metrics
        return [stats.protocol for stats in metrics.protocol_stats]

    def test_metrics_follow_the_table(self) -> None:
        config = Config()
        self.assertEqual(self.counted(config), ["websocket", "graphql", "graphql_stream", "tcp", "sse"])
        config = evolve(
            config,
            websocket=evolve(config.websocket, enabled=False, echo_enabled=True),
            graphql=evolve(config.graphql, enabled=False),
        )
        self.assertEqual(self.counted(config), ["echo", "tcp", "sse"])

    def test_a_name_is_used_once(self) -> None:
        """Else two would be counted as one."""

        def impostor(config: Config) -> Wire:
            return evolve(WIRES[0](config), name="impostor", path="/elsewhere")

        error = self.assertRaises(ValueError, self.counted, Config(), *WIRES, impostor)
        self.assertEqual(str(error), "two kinds of connection are called 'websocket'")
