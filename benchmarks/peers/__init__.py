"""What our users would pick instead, and how each is started: as its documentation says, in production mode."""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Callable, Sequence

from ..contender import HOST, Contender, Missing, needs
from ..native import NoCompiler, built

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
PYTHON = HERE.parents[1] / ".venv-peers" / "bin" / "python"
BY_DEBIAN = "apt-get install {}"

REQUIREMENTS = HERE / "requirements.txt"
INSTALLED = (
    "import json, sys; from importlib.metadata import version; "
    "print(json.dumps({each: version(each) for each in sys.argv[1:]}))"
)

Command = Callable[[int, Path], Sequence[str]]


def node(name: str, script: str, *words: str, **environment: str) -> Contender:
    def command(port: int, _: Path) -> Sequence[str]:
        program = needs("node", BY_DEBIAN.format("nodejs"))
        if not MODULES.is_dir():
            raise Missing("not installed (make bench-peers)")
        return [program, str(HERE / script), *words, str(port)]

    return Contender(name, command, {"NODE_ENV": "production", **environment})


def uvicorn(name: str, app: str, **environment: str) -> Contender:
    """With the faster loop and parser, and without a log line for each request."""

    def command(port: int, _: Path) -> Sequence[str]:
        options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--backlog", "2048"]
        return [*_python(), "-m", "uvicorn", app, "--app-dir", str(HERE), "--port", str(port), *options]

    return Contender(name, command, environment)


def websockets() -> Contender:
    return Contender(
        "websockets", lambda port, _: [*_python(), str(HERE / "websockets_server.py"), str(port)]
    )


def mosquitto() -> Contender:
    def command(port: int, directory: Path) -> Sequence[str]:
        program = needs("mosquitto", BY_DEBIAN.format("mosquitto"))
        lines = [
            f"listener {port} {HOST}",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "persistence false",
        ]
        lines += ["user root"] if os.geteuid() == 0 else []
        (directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        return [program, "-c", str(directory / "mosquitto.conf")]

    return Contender("Mosquitto, QoS 0", command)


def nats() -> Contender:
    return Contender(
        "nats-server",
        lambda port, _: [needs("nats-server", BY_DEBIAN.format("nats-server")), "-a", HOST, "-p", str(port)],
    )


def redis() -> Contender:
    def command(port: int, directory: Path) -> Sequence[str]:
        program = needs("redis-server", BY_DEBIAN.format("redis-server"))
        options = {"--port": port, "--bind": HOST, "--save": "", "--appendonly": "no", "--dir": directory}
        return [program, *(str(each) for pair in options.items() for each in pair)]

    return Contender("Redis pub/sub", command)


def floor(kind: str) -> Contender:
    def command(port: int, _: Path) -> Sequence[str]:
        try:
            return [str(built("floor.c")), kind, str(port)]
        except NoCompiler as missing:
            raise Missing(f"not built ({missing})") from None

    return Contender("C, one system call each", command)


def versions() -> dict[str, str]:
    """Of all peers that are there."""
    found: dict[str, str] = {}
    for each in sorted(json.loads((HERE / "package.json").read_text())["dependencies"]):
        with suppress(OSError):
            found[each] = json.loads((MODULES / each / "package.json").read_text())["version"]
    with suppress(OSError, Missing):
        names = [line.partition("=")[0].partition("[")[0] for line in REQUIREMENTS.read_text().split()]
        found |= json.loads(subprocess.check_output([*_python(), "-c", INSTALLED, *names]))
    for program, option in (("mosquitto", "-h"), ("nats-server", "--version"), ("redis-server", "--version")):
        with suppress(Missing):
            said = subprocess.run([needs(program, ""), option], capture_output=True, text=True).stdout
            found[program] = (re.findall(r"\d+\.\d+\.\d+", said) or ["?"])[0]
    return found


def _python() -> Sequence[str]:
    if not PYTHON.exists():
        raise Missing("not installed (make bench-peers)")
    return [str(PYTHON)]
