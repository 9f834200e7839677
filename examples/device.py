"""A device on the framed TCP protocol, with nothing but Python's standard library.

It authenticates, subscribes to topics, prints their messages, and with --publish sends
a reading every few seconds.  It answers the server's pings, and when the connection is
lost it reconnects by itself, waiting longer after each failure.

    python3 -m examples.device messages.channel.hello
    python3 -m examples.device --publish sensors.kitchen 'sensors.*'
    python3 -m examples.device --cursor hello.cursor messages.channel.hello

It goes on where it was, and with --cursor also when it is started again: of logged topics nothing
is missed, nothing shown twice.  (Where two of the patterns cover a message, each of them replays it.)

With a credential of its own (POST /api/v1/auth/credentials) it needs no account, and may
do what the credential was granted.  In the environment no other user can see it:

    MULTIPROTO_CREDENTIAL=mpd_… python3 -m examples.device --publish sensors.kitchen

A frame is four bytes for the length of the rest (big-endian), one byte for its type,
and a JSON object: docs/tcp.md#frames.  `Device` is meant to be copied: the rest of this file is
only its command line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import struct
import sys
import time
from collections import deque
from typing import Any, Callable, Iterable

from .cursors import Cursors, cursor_option, describe_subscribed
from .login import Refused, describe, options, run, token

AUTH, AUTH_SUCCESS, AUTH_ERROR = 0x01, 0x02, 0x03
SUBSCRIBE, SUBSCRIBED = 0x10, 0x12
CAUGHT_UP = 0x14
MESSAGE, SERVER_MESSAGE, MESSAGE_ACK = 0x20, 0x21, 0x22
PING, PONG = 0x30, 0x31
NOTED = {
    SUBSCRIBED: "subscribed",
    SERVER_MESSAGE: "message",
    CAUGHT_UP: "caught_up",
}  # as `Cursors` calls them
ERROR = 0xFF

REPLY_TIMEOUT = 10.0  # seconds that an answer may take
SILENCE = 90.0  # seconds without a byte; the server pings every 30
MAX_PAUSE = 60.0  # seconds between two tries to connect
TRY_LATER = {"7", "13", "51", "54", "55"}  # temporary errors: too many, overload, shutdown, time-out

Fields = dict[str, Any]


class Device:
    """A connection that reconnects by itself.

    All work is done in `receive` and `publish`, in the caller's thread: call `receive`
    at least once a minute, or the server's pings stay unanswered and it closes the connection.
    What was published on logged topics while the connection was down is received later; on live ones it is not.
    """

    def __init__(
        self,
        address: tuple[str, int],
        token: Callable[[], str],
        topics: Iterable[str] = (),
        log: Callable[[str], object] = lambda line: None,
        cursors: Cursors | None = None,
    ) -> None:
        """`token` gives an access token, or a credential, for each connection; `log` takes lines about it.

        A delivery is noted in `cursors` when `receive` is called for the next thing: then it has been handled.
        """
        self._address = address
        self._token = token
        self._topics = tuple(topics)
        self._log = log
        self._cursors = cursors or Cursors()
        self._socket: socket.socket | None = None
        self._buffer = bytearray()  # of bytes that are not a whole frame yet
        self._received: deque[tuple[str, Fields]] = deque()  # what `receive` has not come to yet
        self._handled: Fields | None = None  # the delivery that it returned last
        self._received_at = 0.0
        self._published = 0

    def receive(self, seconds: float) -> Fields | None:
        """The next delivery: `topic`, `content`, `timestamp`; or None if none came in time.

        While the server is away this waits for it, however long that takes.
        """
        if self._handled is not None:
            self._cursors.note("message", self._handled)
            self._handled = None
        until = time.monotonic() + seconds
        while True:
            while self._received:
                kind, fields = self._received.popleft()
                if kind == "message":
                    self._handled = fields
                    return fields
                self._cursors.note(kind, fields)
            self._ensure_connected()
            try:
                frame = self._frame(until)
            except OSError as error:
                self._lost(error)
                continue
            if frame is None:
                return None
            if frame[0] == ERROR:
                self._log(describe(frame[1]))  # a farewell, mostly; the end of the connection follows

    def publish(self, topic: str, content: object) -> None:
        """Send `content`; returns once the server has accepted it.

        Raises `Refused`, or `OSError` when the connection was lost before the answer:
        then it is unknown whether it was accepted.
        """
        self._ensure_connected()
        self._published += 1
        try:
            self._send(MESSAGE, topic=topic, content=content, id=self._published)
            self._wait_for(MESSAGE_ACK, self._published)
        except OSError as error:
            self._lost(error)
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # Connecting.

    def _ensure_connected(self) -> None:
        pause = 0.5  # seconds
        while self._socket is None:
            try:
                self._connect()
            except OSError as error:
                # At random, so that a thousand devices do not reconnect in the same instant.
                wait = random.uniform(pause / 2, pause)
                self._lost(error, f"; next try in {wait:.1f} s")
                time.sleep(wait)
                pause = min(pause * 2, MAX_PAUSE)
            except Refused:
                self.close()  # trying again would not help
                raise

    def _connect(self) -> None:
        """Send everything at once: the server processes frames in order, however long AUTH takes."""
        token = self._token()
        self._socket = socket.create_connection(self._address, REPLY_TIMEOUT)
        self._buffer.clear()
        self._received_at = time.monotonic()
        self._send(AUTH, token=token)
        # What was not handled comes again, except on live topics.
        self._received = deque(each for each in self._received if "cursor" not in each[1])
        for topic in self._topics:
            after = self._cursors.after(topic)
            self._send(SUBSCRIBE, topic=topic, id=topic, **({} if after is None else {"after": after}))
        self._wait_for(AUTH_SUCCESS)
        for topic in self._topics:
            self._log(describe_subscribed(self._wait_for(SUBSCRIBED, topic)))
        self._log("connected")

    def _lost(self, error: OSError, note: str = "") -> None:
        self.close()
        self._log(f"{error}{note}")

    # Frames.

    def _wait_for(self, kind: int, id: int | str | None = None) -> Fields:
        """Wait for the reply to our frame; raises `Refused` if it is an error."""
        until = time.monotonic() + REPLY_TIMEOUT
        while frame := self._frame(until):
            found, fields = frame
            if found in (ERROR, AUTH_ERROR):
                if fields.get("id") != id:
                    self._log(describe(fields))
                elif fields["code"] in TRY_LATER:
                    raise ConnectionError(describe(fields))
                else:
                    raise Refused(f"{fields['code']}: {describe(fields)}")
            if found == kind and fields.get("id") == id:
                return fields
        raise ConnectionError("no answer")

    def _frame(self, until: float) -> tuple[int, Fields] | None:
        """The next frame other than keepalive, or None if none comes in time."""
        while (body := self._body(until)) is not None:
            kind, fields = body[0], json.loads(body[1:])
            if kind == PING:
                self._send(PONG, timestamp=int(time.time() * 1000))
            else:
                if kind in NOTED:
                    self._received.append((NOTED[kind], fields))
                return kind, fields
        return None

    def _body(self, until: float) -> bytes | None:
        assert self._socket is not None
        while True:
            size = 4 + int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) >= max(size, 5):
                body = bytes(self._buffer[4:size])
                del self._buffer[:size]
                return body
            now = time.monotonic()
            if now - self._received_at >= SILENCE:
                raise ConnectionError("nothing heard from the server for too long")
            if now >= until:
                return None
            self._socket.settimeout(until - now)
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not chunk:
                raise ConnectionError("the server closed the connection")
            self._received_at = time.monotonic()
            self._buffer += chunk

    def _send(self, kind: int, **fields: object) -> None:
        assert self._socket is not None
        body = bytes([kind]) + json.dumps(fields).encode()
        self._socket.settimeout(REPLY_TIMEOUT)
        self._socket.sendall(struct.pack(">I", len(body)) + body)


def address(text: str) -> tuple[str, int]:
    """host:port, [::1]:port"""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"must be such as 127.0.0.1:3001, not {text!r}")
    return host.strip("[]"), int(port)


def seconds(text: str) -> float:
    """More than none, and less than for ever."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="topic or pattern to subscribe to")
    parser.add_argument("--tcp", type=address, default=("127.0.0.1", 3001), metavar="HOST:PORT")
    parser.add_argument("--publish", metavar="TOPIC", help="send a reading to this topic")
    parser.add_argument("--every", type=seconds, default=5.0, help="seconds between readings (%(default)s)")
    parser.add_argument("--credential", help="instead of an account; better in MULTIPROTO_CREDENTIAL")
    cursor_option(parser)
    given = parser.parse_args()
    credential = given.credential or os.environ.get("MULTIPROTO_CREDENTIAL")
    device = Device(
        given.tcp,
        lambda: credential or token(given.url, given.account),
        given.topics,
        lambda line: print(line, file=sys.stderr, flush=True),
        Cursors(given.cursor),
    )
    while True:
        if given.publish:
            publish_reading(device, given.publish)
        due = time.monotonic() + given.every
        while (left := due - time.monotonic()) > 0:
            if message := device.receive(left):
                print(message["topic"], json.dumps(message["content"], ensure_ascii=False), flush=True)


def publish_reading(device: Device, topic: str) -> None:
    """Publish once; if the connection is lost before the answer, once more."""
    reading = {"celsius": round(random.gauss(21, 0.5), 1)}
    try:
        device.publish(topic, reading)
    except OSError:
        device.publish(topic, reading)


if __name__ == "__main__":
    run(main)
