"""What the server prints in development."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from multiproto.banner import ListenAddress, StartupInfo, render_banner, startup_info
from multiproto.config import Config
from multiproto.config.settings import MetricsConfig, TcpConfig

DEFAULT = StartupInfo(
    version="1.2.3",
    http=ListenAddress("127.0.0.1", 3000),
    tcp=ListenAddress("127.0.0.1", 3001),
    metrics=ListenAddress("127.0.0.1", 9090),
    websocket=True,
    graphql_path="/graphql",
    data_directory=Path("./data"),
    storage_description="data",
    has_examples=True,
)


def commands(text: str) -> list[str]:
    """The lines to paste: each stands behind its title."""
    lines = text.splitlines()
    return [command.strip() for title, command in zip(lines, lines[1:]) if title.startswith("  # ")]


class BannerTests(SynchronousTestCase):
    maxDiff = None

    def test_defaults(self) -> None:
        """No option is needed where everything is as the examples expect it."""
        self.assertEqual(
            render_banner(DEFAULT),
            """\
multiproto 1.2.3, in development. Ctrl-C stops it.

  HTTP       http://127.0.0.1:3000
  WebSocket  ws://127.0.0.1:3000/ws
  GraphQL    http://127.0.0.1:3000/graphql
  TCP        127.0.0.1:3001
  Metrics    http://127.0.0.1:9090/metrics
  Data       data

Send one message and see it on 4 protocols. Paste each of these here, in a
terminal of its own, in this order: the last one sends.

  # WebSocket
  .venv/bin/python -m examples.websocket_subscriber messages.channel.hello

  # GraphQL
  .venv/bin/python -m examples.graphql_subscriber 'subscription { messageSent(channelId: "hello") { content user { name } } }'

  # TCP, a plain socket
  python3 -m examples.device messages.channel.hello

  # REST
  curl http://127.0.0.1:3000/api/v1/messages -H "Authorization: Bearer $(python3 -m examples.login)" -d channelId=hello -d 'content=One message, four protocols' && echo

All of it at once: .venv/bin/python -m examples.four_ways
""",
        )

    def test_several_workers(self) -> None:
        text = render_banner(evolve(DEFAULT, workers=4))
        self.assertIn("  Metrics    http://127.0.0.1:9090/metrics   (one for each worker, to 9093)\n", text)

    def test_what_is_running_by_its_settings(self) -> None:
        ports = {"http": 1, "tcp": 2, "metrics": 3}
        found = startup_info(Config(), ports.__getitem__)
        self.assertEqual(
            (found.http, found.tcp, found.metrics),
            (ListenAddress("127.0.0.1", 1), ListenAddress("127.0.0.1", 2), ListenAddress("127.0.0.1", 3)),
        )
        config = Config(tcp=TcpConfig(enabled=False), metrics=MetricsConfig(enabled=False))
        found = startup_info(config, {"http": 1}.__getitem__)
        self.assertEqual((found.tcp, found.metrics), (None, None))

    def test_other_places(self) -> None:
        """Real ports and the data directory go into every command that needs them, quoted."""
        text = render_banner(
            evolve(
                DEFAULT,
                http=ListenAddress("127.0.0.1", 4000),
                tcp=ListenAddress("127.0.0.1", 4001),
                data_directory=Path("/var/my data"),
            )
        )
        options = "--url http://127.0.0.1:4000"
        account = "--account '/var/my data/demo-account.json'"
        websocket, graphql, tcp, rest = commands(text)
        self.assertIn(f"websocket_subscriber {options} {account} messages", websocket)
        self.assertIn(f"graphql_subscriber {options} {account} 'subscription", graphql)
        self.assertIn(f"device {options} --tcp 127.0.0.1:4001 {account} messages", tcp)
        self.assertIn('curl http://127.0.0.1:4000/api/v1/messages -H "Authorization: Bearer $(python3', rest)
        self.assertIn(f"examples.login {options} {account})", rest)
        self.assertIn(f"four_ways {options} --tcp 127.0.0.1:4001 {account}\n", text)

    def test_wildcards_are_reached_on_loopback_and_said_to_be_open(self) -> None:
        text = render_banner(
            evolve(DEFAULT, http=ListenAddress("0.0.0.0", 3000), tcp=ListenAddress("::", 3001))
        )
        self.assertIn("  HTTP       http://127.0.0.1:3000   (open to the network)\n", text)
        self.assertIn("  TCP        [::1]:3001   (open to the network)\n", text)
        self.assertIn("device --tcp '[::1]:3001' messages", text)
        self.assertNotIn("0.0.0.0", text)

    def test_over_tls(self) -> None:
        """No commands: the examples would not trust the certificate of a server in development."""
        http, tcp = (
            ListenAddress("127.0.0.1", 3000, uses_tls=True),
            ListenAddress("0.0.0.0", 3001, uses_tls=True),
        )
        text = render_banner(evolve(DEFAULT, http=http, tcp=tcp))
        self.assertIn("  HTTP       https://127.0.0.1:3000\n", text)
        self.assertIn("  WebSocket  wss://127.0.0.1:3000/ws\n", text)
        self.assertIn("  GraphQL    https://127.0.0.1:3000/graphql\n", text)
        self.assertIn("  TCP        127.0.0.1:3001   TLS   (open to the network)\n", text)
        self.assertIn("  Metrics    http://127.0.0.1:9090/metrics\n", text)
        self.assertEqual(commands(text), [])

    def test_what_is_off_is_said_to_be_off_and_not_pasted(self) -> None:
        text = render_banner(evolve(DEFAULT, tcp=None, metrics=None, graphql_path=None))
        for name in ("TCP", "Metrics", "GraphQL"):
            self.assertIn(f"  {name:<11}off\n", text)
        self.assertIn("see it on 2 protocols", text)
        websocket, rest = commands(text)
        self.assertIn("examples.websocket_subscriber messages", websocket)
        self.assertNotIn("four_ways", text)

    def test_without_websocket(self) -> None:
        text = render_banner(evolve(DEFAULT, websocket=False))
        self.assertIn("  WebSocket  off\n", text)
        self.assertNotIn("websocket_subscriber", text)

    def test_a_path_that_the_examples_do_not_know(self) -> None:
        text = render_banner(evolve(DEFAULT, graphql_path="/query"))
        self.assertIn("  GraphQL    http://127.0.0.1:3000/query\n", text)
        self.assertNotIn("graphql_subscriber", text)

    def test_installed_without_the_examples(self) -> None:
        text = render_banner(evolve(DEFAULT, has_examples=False))
        self.assertEqual(commands(text), [])
        self.assertNotIn("examples", text)
        self.assertTrue(text.endswith("  Data       data\n"))
