"""Our server as a contender, started as users start it: `twistd -n multiproto`, with all that it does by itself."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Callable, Sequence
from urllib.request import urlopen

from attrs import define, field

from .contender import HOST, Contender, free_port

SETTINGS = Path(__file__).with_name("server.toml")
SECRET = "benchmarks-only-0123456789abcdef-secret"
PASSWORD = "Passw0rd!"


@define(eq=False)
class Multiproto(Contender):
    name: str = "multiproto"
    command: Any = field(init=False)
    database: str = ""  # a PostgreSQL's address; the embedded one otherwise
    settings: dict[str, str] = field(factory=dict)  # beside those in server.toml
    tcp: int = field(init=False, factory=free_port)
    metrics: int = field(init=False, factory=free_port)

    def __attrs_post_init__(self) -> None:
        self.command = self._command

    def _command(self, port: int, directory: Path) -> Sequence[str]:
        self.environment = {
            "PORT": str(port),
            "TCP_PORT": str(self.tcp),
            "METRICS_PORT": str(self.metrics),
            "DATA_DIR": str(directory / "data"),
            "JWT_SECRET": SECRET,
            "DATABASE_URL": self.database,
            # Not in server.toml, where an older checkout that is measured, too, refuses what it does not know.
            "RATE_LIMIT_USER_MAX": "1000000000",
            "APP_ENV": "test",  # reads no .env, listens on loopback, else as in development
            **self.settings,
        }
        twistd = Path(sys.executable).with_name("twistd")
        return [str(twistd), "--nodaemon", "--pidfile=", "multiproto", "--config", str(SETTINGS)]

    def ready(self) -> bool:
        try:
            return bool(urlopen(f"http://{HOST}:{self.port}/health/ready").status == 200)
        except OSError:
            return False

    def again(self, between: Callable[[], object]) -> None:
        """Stopped, and started on the same data after `between`."""
        self.halt()
        between()
        self.launch()

    def register(self, number: int) -> dict[str, Any]:
        """A user, logged in: from an address of their own, since logins are counted by address."""
        fields = {"email": f"user{number}@example.org", "name": "Some User", "password": PASSWORD}
        self.ask("/api/v1/auth/register", fields, number)
        del fields["name"]
        return dict(self.ask("/api/v1/auth/login", fields, number)["data"])

    def token(self) -> str:
        return str(self.register(0)["token"])

    def ask(self, path: str, fields: dict[str, Any], number: int = 0) -> Any:
        """As somebody at the loopback address of this number."""
        host = f"127.0.1.{number}"
        with closing(HTTPConnection(HOST, self.port, timeout=30, source_address=(host, 0))) as connection:
            connection.request("POST", path, json.dumps(fields), {"Content-Type": "application/json"})
            response = connection.getresponse()
            said = json.load(response)
        if response.status >= 400:
            raise SystemExit(f"{path}: {said}")
        return said

    def published(self, protocol: str) -> int:
        """Messages that came in on one of the wires and were published, as the server counts them."""
        said = json.load(urlopen(f"http://{HOST}:{self.metrics}/stats"))
        return int(said["protocols"][protocol]["messages"]["messagesPublished"])
