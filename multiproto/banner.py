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

DEFAULT_HTTP, DEFAULT_TCP = "http://127.0.0.1:3000", "127.0.0.1:3001"
DEFAULT_DATA = Path("data")
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # reached from this machine as

GRAPHQL_PATH = "/graphql"  # the only one that the examples know

CHANNEL = "hello"
PYTHON = ".venv/bin/python"


@frozen
class Place:
    """Where something listens: the host it is bound to, and the port the system gave it."""

    host: str
    port: int
    secure: bool = False  # speaks TLS

    def url(self, scheme: str) -> str:
        """`scheme` is http or ws."""
        return f"{scheme}{'s' if self.secure else ''}://{self}"

    def __str__(self) -> str:
        """As one connects to it from this machine."""
        host = WILDCARDS.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def note(self) -> str:
        return "   (open to the network)" if self.host in WILDCARDS else ""

    @property
    def tls(self) -> str:
        """For what has no scheme of its own."""
        return "   TLS" if self.secure else ""


@frozen
class Started:
    """What is running; `None` for what is switched off."""

    version: str
    http: Place
    tcp: Place | None
    metrics: Place | None
    websocket: bool
    graphql: str | None  # path
    data: Path  # directory
    store: str  # what keeps everything, for people
    examples: bool  # whether the commands can run here: this is a checkout
    workers: int = 1  # processes; each has a port of metrics, one after the other


def show(text: str) -> None:
    """On the process's own stdout: twistd has made `sys.stdout` a part of the log."""
    print(text, file=sys.__stdout__, flush=True)


def started(config: Config, port: Callable[[str], int]) -> Started:
    """What there is to tell the person who started us; "http", "tcp" and "metrics" each listen on a `port`."""
    tls, inside = bool(config.edge.certificate), config.metrics.inside
    metrics = (
        Place(config.metrics.host, port("metrics"), tls and not inside) if config.metrics.enabled else None
    )
    return Started(
        __version__,
        Place(config.http.host, port("http"), tls),
        Place(config.tcp.host, port("tcp"), tls) if config.tcp.enabled else None,
        metrics,
        config.websocket.enabled,
        config.graphql.path if config.graphql.enabled else None,
        Path(config.storage.directory),
        config.storage.where,
        Path("examples/four_ways.py").exists(),
        config.workers,
    )


def banner(started: Started) -> str:
    """The text, to be printed once; it ends with a newline."""
    http = started.http.url("http")
    lines = [f"multiproto {started.version}, in development. Ctrl-C stops it.", ""]
    for name, where in (
        ("HTTP", f"{http}{started.http.note}"),
        ("WebSocket", started.websocket and f"{started.http.url('ws')}/ws"),
        ("GraphQL", started.graphql and f"{http}{started.graphql}"),
        ("TCP", started.tcp and f"{started.tcp}{started.tcp.tls}{started.tcp.note}"),
        ("Metrics", started.metrics and f"{started.metrics.url('http')}/metrics{_more(started)}"),
        ("Data", started.store),
    ):
        lines.append(f"  {name:<11}{where or 'off'}")
    if started.examples and not started.http.secure:  # they know nothing of the certificate
        lines += ["", *_to_paste(started)]
    return "\n".join(lines) + "\n"


def _more(started: Started) -> str:
    """What there is to know of the metrics' address."""
    assert started.metrics is not None
    last = started.metrics.port + started.workers - 1
    return started.metrics.note + (f"   (one for each worker, to {last})" if started.workers > 1 else "")


def _to_paste(started: Started) -> list[str]:
    """The listeners that there are, then what sends."""
    listeners = _listeners(started)
    lines = [f"Send one message and see it on {len(listeners) + 1} protocols. Paste each of these here, in a"]
    lines += ["terminal of its own, in this order: the last one sends.", ""]
    for title, command in (*listeners, ("REST", _curl(started))):
        lines += [f"  # {title}", f"  {command}", ""]
    if len(listeners) == 3:
        lines.append(f"All of it at once: {_run(PYTHON, 'four_ways', started, tcp=True)}")
    return lines


def _listeners(started: Started) -> list[tuple[str, str]]:
    topic = f"messages.channel.{CHANNEL}"
    operation = f'subscription {{ messageSent(channelId: "{CHANNEL}") {{ content user {{ name }} }} }}'
    listeners = []
    if started.websocket:
        listeners.append(("WebSocket", _run(PYTHON, "websocket_subscriber", started, topic)))
    if started.graphql == GRAPHQL_PATH:
        listeners.append(("GraphQL", _run(PYTHON, "graphql_subscriber", started, operation)))
    if started.tcp:
        listeners.append(("TCP, a plain socket", _run("python3", "device", started, topic, tcp=True)))
    return listeners


def _curl(started: Started) -> str:
    token = f'"Authorization: Bearer $({_run("python3", "login", started)})"'
    text = quote("content=One message, four protocols")
    return f"curl http://{started.http}/api/v1/messages -H {token} -d channelId={CHANNEL} -d {text} && echo"


def _run(python: str, example: str, started: Started, *words: str, tcp: bool = False) -> str:
    """The command of an example, with options only for what is not as the example expects."""
    options: list[str] = []
    if f"http://{started.http}" != DEFAULT_HTTP:
        options += ["--url", f"http://{started.http}"]
    if tcp and str(started.tcp) != DEFAULT_TCP:
        options += ["--tcp", str(started.tcp)]
    if started.data != DEFAULT_DATA:
        options += ["--account", f"{started.data}/demo-account.json"]
    return join([python, "-m", f"examples.{example}", *options, *words])
