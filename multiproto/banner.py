"""The text that a development server prints when it has started: its addresses, and commands to try.

The commands run from the repository's root as they are; each logs in to the demo
account of `examples/login.py`, or creates it.
"""

from __future__ import annotations

from pathlib import Path
from shlex import join, quote
from typing import Callable

from attrs import frozen

from . import __version__
from .config import Config

DEFAULT_HTTP_URL, DEFAULT_TCP_ADDRESS = "http://127.0.0.1:3000", "127.0.0.1:3001"
DEFAULT_DATA_DIRECTORY = Path("data")
# Address to bind -> address to connect to from this machine.
WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}

EXAMPLES_GRAPHQL_PATH = "/graphql"  # the only one that the examples know

EXAMPLE_CHANNEL = "hello"
VENV_PYTHON = ".venv/bin/python"


@frozen
class ListenAddress:
    """The address of a listening port: the host it is bound to, and the port number."""

    host: str
    port: int
    uses_tls: bool = False

    def url(self, scheme: str) -> str:
        """`scheme` is http or ws."""
        return f"{scheme}{'s' if self.uses_tls else ''}://{self}"

    def __str__(self) -> str:
        """The address to connect to from this machine."""
        host = WILDCARD_HOSTS.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def exposure_note(self) -> str:
        return "   (open to the network)" if self.host in WILDCARD_HOSTS else ""

    @property
    def tls_note(self) -> str:
        """A note for protocols whose URL does not show it."""
        return "   TLS" if self.uses_tls else ""


@frozen
class StartupInfo:
    """The parts of the running server; `None` for those that are disabled."""

    version: str
    http: ListenAddress
    tcp: ListenAddress | None
    metrics: ListenAddress | None
    websocket: bool
    graphql_path: str | None
    data_directory: Path
    storage_description: str  # where data is kept, for people
    has_examples: bool  # whether this is a checkout, where the commands can run
    workers: int = 1  # processes; their metrics ports are consecutive


def startup_info(config: Config, port: Callable[[str], int]) -> StartupInfo:
    """The contents of the banner; `port` gives the port number of "http", "tcp" and "metrics"."""
    tls = bool(config.edge.certificate_file)
    metrics = (
        ListenAddress(config.metrics.host, port("metrics"), tls and not config.metrics.is_loopback_only)
        if config.metrics.enabled
        else None
    )
    return StartupInfo(
        __version__,
        ListenAddress(config.http.host, port("http"), tls),
        ListenAddress(config.tcp.host, port("tcp"), tls) if config.tcp.enabled else None,
        metrics,
        config.websocket.enabled,
        config.graphql.path if config.graphql.enabled else None,
        Path(config.storage.directory),
        config.storage.display_name,
        Path("examples/four_ways.py").exists(),
        config.workers,
    )


def render_banner(info: StartupInfo) -> str:
    """The text of the banner, with a newline at its end."""
    http = info.http.url("http")
    lines = [f"multiproto {info.version}, in development. Ctrl-C stops it.", ""]
    for name, where in (
        ("HTTP", f"{http}{info.http.exposure_note}"),
        ("WebSocket", info.websocket and f"{info.http.url('ws')}/ws"),
        ("GraphQL", info.graphql_path and f"{http}{info.graphql_path}"),
        ("TCP", info.tcp and f"{info.tcp}{info.tcp.tls_note}{info.tcp.exposure_note}"),
        ("Metrics", info.metrics and f"{info.metrics.url('http')}/metrics{_metrics_note(info)}"),
        ("Data", info.storage_description),
    ):
        lines.append(f"  {name:<11}{where or 'off'}")
    if info.has_examples and not info.http.uses_tls:  # the examples don't know the certificate
        lines += ["", *_quickstart_lines(info)]
    return "\n".join(lines) + "\n"


def _metrics_note(info: StartupInfo) -> str:
    """Notes on the address of the metrics port."""
    assert info.metrics is not None
    last = info.metrics.port + info.workers - 1
    return info.metrics.exposure_note + (f"   (one for each worker, to {last})" if info.workers > 1 else "")


def _quickstart_lines(info: StartupInfo) -> list[str]:
    """A command for each protocol that can subscribe, then one that publishes."""
    subscribers = _subscriber_commands(info)
    lines = [
        f"Send one message and see it on {len(subscribers) + 1} protocols. Paste each of these here, in a"
    ]
    lines += ["terminal of its own, in this order: the last one sends.", ""]
    for title, command in (*subscribers, ("REST", _publish_command(info))):
        lines += [f"  # {title}", f"  {command}", ""]
    if len(subscribers) == 3:
        lines.append(f"All of it at once: {_example_command(VENV_PYTHON, 'four_ways', info, tcp=True)}")
    return lines


def _subscriber_commands(info: StartupInfo) -> list[tuple[str, str]]:
    topic = f"messages.channel.{EXAMPLE_CHANNEL}"
    operation = (
        f'subscription {{ messageSent(channelId: "{EXAMPLE_CHANNEL}") {{ content user {{ name }} }} }}'
    )
    subscribers = []
    if info.websocket:
        subscribers.append(("WebSocket", _example_command(VENV_PYTHON, "websocket_subscriber", info, topic)))
    if info.graphql_path == EXAMPLES_GRAPHQL_PATH:
        subscribers.append(("GraphQL", _example_command(VENV_PYTHON, "graphql_subscriber", info, operation)))
    if info.tcp:
        subscribers.append(
            ("TCP, a plain socket", _example_command("python3", "device", info, topic, tcp=True))
        )
    return subscribers


def _publish_command(info: StartupInfo) -> str:
    token = f'"Authorization: Bearer $({_example_command("python3", "login", info)})"'
    text = quote("content=One message, four protocols")
    return (
        f"curl http://{info.http}/api/v1/messages -H {token} -d channelId={EXAMPLE_CHANNEL} -d {text} && echo"
    )


def _example_command(python: str, example: str, info: StartupInfo, *words: str, tcp: bool = False) -> str:
    """The command of an example, with options only where the server differs from the example's defaults."""
    options: list[str] = []
    if f"http://{info.http}" != DEFAULT_HTTP_URL:
        options += ["--url", f"http://{info.http}"]
    if tcp and str(info.tcp) != DEFAULT_TCP_ADDRESS:
        options += ["--tcp", str(info.tcp)]
    if info.data_directory != DEFAULT_DATA_DIRECTORY:
        options += ["--account", f"{info.data_directory}/demo-account.json"]
    return join([python, "-m", f"examples.{example}", *options, *words])
