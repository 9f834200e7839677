"""What a person who has just started the server needs next: where it is, and what to paste.

The commands run from the repository's root, as they stand; each logs in to the demo
account of `examples/login.py`, or makes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import join, quote
from typing import Callable

from attrs import frozen

from . import __version__
from .config import Config

DEFAULT_HTTP_URL, DEFAULT_TCP_ADDRESS = "http://127.0.0.1:3000", "127.0.0.1:3001"
DEFAULT_DATA_DIRECTORY = Path("data")
WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # reached from this machine as

EXAMPLES_GRAPHQL_PATH = "/graphql"  # the only one that the examples know

EXAMPLE_CHANNEL = "hello"
VENV_PYTHON = ".venv/bin/python"


@frozen
class ListenAddress:
    """Where something listens: the host it is bound to, and the port the system gave it."""

    host: str
    port: int
    uses_tls: bool = False  # speaks TLS

    def url(self, scheme: str) -> str:
        """`scheme` is http or ws."""
        return f"{scheme}{'s' if self.uses_tls else ''}://{self}"

    def __str__(self) -> str:
        """As one connects to it from this machine."""
        host = WILDCARD_HOSTS.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def exposure_note(self) -> str:
        return "   (open to the network)" if self.host in WILDCARD_HOSTS else ""

    @property
    def tls_note(self) -> str:
        """For what has no scheme of its own."""
        return "   TLS" if self.uses_tls else ""


@frozen
class StartupInfo:
    """What is running; `None` for what is switched off."""

    version: str
    http: ListenAddress
    tcp: ListenAddress | None
    metrics: ListenAddress | None
    websocket: bool
    graphql_path: str | None  # path
    data_directory: Path  # directory
    storage_description: str  # what keeps everything, for people
    has_examples: bool  # whether the commands can run here: this is a checkout
    workers: int = 1  # processes; each has a port of metrics, one after the other


def print_to_stdout(text: str) -> None:
    """On the process's own stdout: twistd has made `sys.stdout` a part of the log."""
    print(text, file=sys.__stdout__, flush=True)


def startup_info(config: Config, port: Callable[[str], int]) -> StartupInfo:
    """What there is to tell the person who started us; "http", "tcp" and "metrics" each listen on a `port`."""
    tls, inside = bool(config.edge.certificate_file), config.metrics.is_loopback_only
    metrics = (
        ListenAddress(config.metrics.host, port("metrics"), tls and not inside)
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


def render_banner(started: StartupInfo) -> str:
    """The text, to be printed once; it ends with a newline."""
    http = started.http.url("http")
    lines = [f"multiproto {started.version}, in development. Ctrl-C stops it.", ""]
    for name, where in (
        ("HTTP", f"{http}{started.http.exposure_note}"),
        ("WebSocket", started.websocket and f"{started.http.url('ws')}/ws"),
        ("GraphQL", started.graphql_path and f"{http}{started.graphql_path}"),
        ("TCP", started.tcp and f"{started.tcp}{started.tcp.tls_note}{started.tcp.exposure_note}"),
        ("Metrics", started.metrics and f"{started.metrics.url('http')}/metrics{_metrics_note(started)}"),
        ("Data", started.storage_description),
    ):
        lines.append(f"  {name:<11}{where or 'off'}")
    if started.has_examples and not started.http.uses_tls:  # they know nothing of the certificate
        lines += ["", *_quickstart_lines(started)]
    return "\n".join(lines) + "\n"


def _metrics_note(started: StartupInfo) -> str:
    """What there is to know of the metrics' address."""
    assert started.metrics is not None
    last = started.metrics.port + started.workers - 1
    return started.metrics.exposure_note + (
        f"   (one for each worker, to {last})" if started.workers > 1 else ""
    )


def _quickstart_lines(started: StartupInfo) -> list[str]:
    """The listeners that there are, then what sends."""
    listeners = _subscriber_commands(started)
    lines = [f"Send one message and see it on {len(listeners) + 1} protocols. Paste each of these here, in a"]
    lines += ["terminal of its own, in this order: the last one sends.", ""]
    for title, command in (*listeners, ("REST", _publish_command(started))):
        lines += [f"  # {title}", f"  {command}", ""]
    if len(listeners) == 3:
        lines.append(f"All of it at once: {_example_command(VENV_PYTHON, 'four_ways', started, tcp=True)}")
    return lines


def _subscriber_commands(started: StartupInfo) -> list[tuple[str, str]]:
    topic = f"messages.channel.{EXAMPLE_CHANNEL}"
    operation = (
        f'subscription {{ messageSent(channelId: "{EXAMPLE_CHANNEL}") {{ content user {{ name }} }} }}'
    )
    listeners = []
    if started.websocket:
        listeners.append(("WebSocket", _example_command(VENV_PYTHON, "websocket_subscriber", started, topic)))
    if started.graphql_path == EXAMPLES_GRAPHQL_PATH:
        listeners.append(("GraphQL", _example_command(VENV_PYTHON, "graphql_subscriber", started, operation)))
    if started.tcp:
        listeners.append(
            ("TCP, a plain socket", _example_command("python3", "device", started, topic, tcp=True))
        )
    return listeners


def _publish_command(started: StartupInfo) -> str:
    token = f'"Authorization: Bearer $({_example_command("python3", "login", started)})"'
    text = quote("content=One message, four protocols")
    return f"curl http://{started.http}/api/v1/messages -H {token} -d channelId={EXAMPLE_CHANNEL} -d {text} && echo"


def _example_command(python: str, example: str, started: StartupInfo, *words: str, tcp: bool = False) -> str:
    """The command of an example, with options only for what is not as the example expects."""
    options: list[str] = []
    if f"http://{started.http}" != DEFAULT_HTTP_URL:
        options += ["--url", f"http://{started.http}"]
    if tcp and str(started.tcp) != DEFAULT_TCP_ADDRESS:
        options += ["--tcp", str(started.tcp)]
    if started.data_directory != DEFAULT_DATA_DIRECTORY:
        options += ["--account", f"{started.data_directory}/demo-account.json"]
    return join([python, "-m", f"examples.{example}", *options, *words])
