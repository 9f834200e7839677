"""Follow messages from TCP to WebSocket to REST with one cursor, while the server is killed twice.

    .venv/bin/python -m examples.one_cursor

It starts a server of its own, on free ports and in a temporary directory, and says what it
does line by line.  A reader changes its protocol, and all that it takes along is a cursor: the
opaque text that came with the last message.  Meanwhile the server dies of `kill -9`, once while a
message is on its way.  The exit status is 1 if anything was lost, came twice or out of order.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Iterator

from .cursors import Cursors
from .device import Device
from .events import topic_events
from .login import Refused, request, run, token
from .websocket_subscriber import frames

CHANNEL = "journey"
TOPIC = f"messages.channel.{CHANNEL}"
TIMEOUT = 60.0  # seconds, for each thing that this waits for

Said = tuple[str, dict[str, Any]]  # what kind of thing the server says, and its fields


class Server:
    """A server of our own, which can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        http, tcp, metrics = free_ports(3)
        self.url, self.tcp = f"http://127.0.0.1:{http}", ("127.0.0.1", tcp)
        settings = {"PORT": http, "TCP_PORT": tcp, "METRICS_PORT": metrics, "DATA_DIR": directory / "data"}
        # What is set for another server is not for this one.
        self._environment = {
            "PATH": os.environ["PATH"],
            **{name: str(value) for name, value in settings.items()},
        }

    def start(self) -> None:
        """Returns when it serves."""
        twistd = (
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--nodaemon",
            "--pidfile=",
            "multiproto",
        )
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *twistd],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + TIMEOUT
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise Refused(f"the server did not start:\n{(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: it can't do anything about it, nor tell anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    close = kill

    def _is_ready(self) -> bool:
        try:
            return bool(request(f"{self.url}/health/ready"))
        except (OSError, Refused):
            return False


class Sender:
    """Sends messages to the channel, each with an idempotency key of its own."""

    def __init__(self, server: Server, account: Path) -> None:
        self._server, self._account = server, account
        self.sent: list[str] = []

    def token(self) -> str:
        return token(self._server.url, self._account)

    def send(self, *texts: str) -> None:
        for text in texts:
            self._post(text, self.token(), secrets.token_hex(16))
            self.sent.append(text)

    def send_into_a_crash(self, text: str) -> None:
        """Kill the server while `text` is on its way; start it, and send again with the same key."""
        access, key = self.token(), secrets.token_hex(16)
        lost: list[Exception] = []

        def post() -> None:
            try:
                self._post(text, access, key)
            except (OSError, Refused) as error:
                lost.append(error)

        posting = threading.Thread(target=post)
        posting.start()
        self._server.kill()
        posting.join()
        say(
            f"   the sender got {'no answer' if lost else 'its answer just in time'}, and sends again, with the same key"
        )
        self._server.start()
        self._post(text, access, key)
        self.sent.append(text)

    def _post(self, text: str, access: str, key: str) -> None:
        fields: dict[str, object] = {"channelId": CHANNEL, "content": text}
        request(f"{self._server.url}/api/v1/messages", fields, access, key)


# A reader over each protocol: it resumes where `cursors` say, and yields what the server says.


def by_tcp(server: Server, access: str, cursors: Cursors) -> Iterator[Said]:
    with closing(Device(server.tcp, lambda: access, [TOPIC], cursors=cursors)) as device:
        while delivery := device.receive(TIMEOUT):
            yield "message", delivery | {"data": delivery["content"]}


def by_websocket(server: Server, access: str, cursors: Cursors) -> Iterator[Said]:
    for frame in frames(server.url, access, TOPIC, cursors=cursors):
        yield frame["type"], frame


def by_rest(server: Server, access: str, cursors: Cursors) -> Iterator[Said]:
    return topic_events(server.url, access, TOPIC, cursors.after(TOPIC))


def demonstrate(server: Server, directory: Path) -> None:
    cursors = Cursors(directory / "cursor")
    sender = Sender(server, directory / "account.json")
    found: list[str] = []

    def read(protocol: str, saying: Iterator[Said], until: str) -> None:
        """Read and note the cursor, up to the message `until`; then disconnect."""
        for kind, fields in saying:
            if kind == "message":
                found.append(fields["data"]["message"]["content"])
                print(f"   {protocol:<9} {found[-1]:<8} cursor {fields['cursor']}", flush=True)
            cursors.note(kind, fields)
            if kind == "message" and found[-1] == until:
                return

    say(
        "A server is started, with an empty directory. A reader reads the list of messages: none, and a cursor."
    )
    server.start()
    access = sender.token()
    listed = request(f"{server.url}/api/v1/messages?channelId={CHANNEL}", token=access)
    cursors.note("message", listed)

    say("Two messages are sent. The reader takes its cursor to TCP, and reads them.")
    sender.send("one", "two")
    read("TCP", by_tcp(server, access, cursors), "two")

    say("The reader is away. A message is sent; another is on its way when the server dies of kill -9.")
    sender.send("three")
    sender.send_into_a_crash("four")
    sender.send("five")

    say("The reader comes back with its cursor, over WebSocket.")
    read("WebSocket", by_websocket(server, access, cursors), "five")

    say("It is away again: a message is sent, kill -9, a start, another message.")
    sender.send("six")
    server.kill()
    server.start()
    sender.send("seven")

    say("And now over REST, as server-sent events.")
    read("REST", by_rest(server, access, cursors), "seven")

    listed = request(f"{server.url}/api/v1/messages?channelId={CHANNEL}", token=access)
    kept = [message["content"] for message in reversed(listed["data"]["data"])]
    for what, texts in (("read", found), ("kept by the server", kept)):
        if texts != sender.sent:
            raise Refused(f"sent were {sender.sent}, but {what}: {texts}")
    say(f"{len(found)} messages sent, {len(found)} read in their order: nothing lost, nothing twice.")


def say(line: str) -> None:
    print(line, flush=True)


def free_ports(count: int) -> list[int]:
    """Of loopback, for a server that is started at once."""
    with ExitStack() as opened:
        found = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in found]


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="one-cursor-") as directory,
        closing(Server(Path(directory))) as server,
    ):
        demonstrate(server, Path(directory))


if __name__ == "__main__":
    run(main)
