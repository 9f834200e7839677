"""nginx and HAProxy with the configuration that docs/operations.md shows; only addresses and files are put in."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Sequence

from attrs import define, field, frozen
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.certificates import Files
from tests.live.processes import Program
from tests.ports import HOST, free_ports
from tests.programs import debian_program
from tests.timing import RESCUE

ROOT = Path(__file__).parent.parent.parent.parent
PAGE = ROOT / "docs/operations.md"
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"  # of Debian


@frozen
class Upstream:
    """Where an instance listens."""

    http: int
    tcp: int


def snippets(language: str) -> list[str]:
    """The blocks of code in `language` on the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def fail_timeout() -> int:
    """The seconds for which nginx leaves a server alone, by the page."""
    (found,) = set(re.findall(r"fail_timeout=(\d+)s", snippets("nginx")[0]))
    return int(found)


def put_in(snippet: str, changes: dict[str, str]) -> str:
    """`snippet` with all of these texts changed; each must be there, so that the page can't drift away."""
    for shown, meant in changes.items():
        assert shown in snippet, f"{PAGE} does not show {shown!r}"
        snippet = snippet.replace(shown, meant)
    return snippet


@define(eq=False)
class RunningProxy:
    """A proxy in front of `upstreams`, with files in a directory of its own; its clients use TLS."""

    directory: Path
    files: Files
    upstreams: Sequence[Upstream]
    http: int = 0
    tcp: int = 0
    extra_location: str = ""  # of nginx: a page beside the server
    program: Program = field(init=False)

    async def start(self) -> None:
        """Returns when it listens on both ports."""
        self.directory.mkdir()
        free_http, free_tcp = free_ports(2)
        self.http, self.tcp = self.http or free_http, self.tcp or free_tcp
        self.program = Program.start(*self.command())
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while not all(map(_listens, (self.http, self.tcp))):
            if self.program.ended.called or reactor.seconds() > give_up:  # type: ignore[attr-defined]
                raise AssertionError(self.program.errors.decode(errors="replace"))
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def servers(self, port: str) -> dict[str, str]:
        """What stands for the addresses of the page, whose second one may be the first again."""
        number = {"http": 3000, "tcp": 3001}[port]
        first, last = self.upstreams[0], self.upstreams[-1]
        return {
            f"10.0.0.8:{number}": f"{HOST}:{getattr(first, port)}",
            f"10.0.0.9:{number}": f"{HOST}:{getattr(last, port)}",
        }


class Nginx(RunningProxy):
    def command(self) -> Sequence[str]:
        program = debian_program("nginx", "nginx", "libnginx-mod-stream", module=STREAM_MODULE)
        http, stream = snippets("nginx")
        files = {
            "/etc/nginx/fullchain.pem": str(self.files.certificate),
            "/etc/nginx/privkey.pem": str(self.files.key),
        }
        http = put_in(http, {"listen 443": f"listen {HOST}:{self.http}", **self.servers("http"), **files})
        http = http.replace("    location / {", f"    {self.extra_location}\n    location / {{")
        (one, address), _ = self.servers("tcp").items()
        stream = put_in(stream, {"listen 3001": f"listen {HOST}:{self.tcp}", one: address, **files})
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = self.directory / "nginx.conf"
        configuration.write_text(
            f"{user} daemon off; master_process off; pid {self.directory}/pid; error_log stderr;\n"
            f"load_module {STREAM_MODULE};\nevents {{}}\n"
            f"http {{ access_log off; {paths}\n{http}}}\nstream {{\n{stream}}}\n"
        )
        return program, "-p", str(self.directory), "-e", "stderr", "-c", str(configuration)


class HAProxy(RunningProxy):
    def command(self) -> Sequence[str]:
        (snippet,) = snippets("haproxy")
        both = self.directory / "site.pem"
        both.write_bytes(self.files.certificate.read_bytes() + self.files.key.read_bytes())
        (one, address), _ = self.servers("tcp").items()
        changes = {
            ":443 ": f"{HOST}:{self.http} ",
            ":3001 ssl": f"{HOST}:{self.tcp} ssl",
            one: address,
            **self.servers("http"),
            "/etc/haproxy/site.pem": str(both),
        }
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(put_in(snippet, changes))
        return debian_program("haproxy", "haproxy"), "-db", "-f", str(configuration)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
