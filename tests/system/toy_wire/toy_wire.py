"""A protocol of lines of text over TCP: all that a further protocol needs, in one file.

The n-th line of a client is answered by `OK n` or `ERROR n NAME message`:

    AUTH token
    SUB pattern [cursor]
    UNSUB pattern
    PUB topic content      content is JSON

What it subscribes to comes as `MSG topic content`, and the last line is `BYE message`.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from multiproto.base import strict_json
from multiproto.base.client_network import client_network
from multiproto.base.tcp_socket import acknowledged_bytes, limit_unsent
from multiproto.config import Config
from multiproto.config.connection_limits import make_connection_limits
from multiproto.core.connections.admission import Admission
from multiproto.core.connections.connection import Connection
from multiproto.core.connections.hub import Hub
from multiproto.core.errors import InvalidInput, Refusal
from multiproto.core.protocol import (
    Authenticate,
    BadCommand,
    Command,
    Delivery,
    DeliveryBatch,
    ErrorReply,
    Farewell,
    Publish,
    Reply,
    Subscribe,
    Unsubscribe,
)
from multiproto.wire import AdmissionSettings, ListeningWire, WireContext, WireListener


def decode(line: bytes, number: int) -> Command:
    try:
        match line.decode().rstrip("\r").split(" ", 2):
            case ["AUTH", token]:
                return Authenticate(token, number)
            case ["SUB", pattern, *cursor]:
                return Subscribe(pattern, *cursor or (None,), number)
            case ["UNSUB", pattern]:
                return Unsubscribe(pattern, number)
            case ["PUB", topic, content]:
                return Publish(topic, strict_json.loads(content.encode()), ref=number)
    except ValueError:
        pass
    return BadCommand(InvalidInput("Not a line that is known here"), number)


def encode(reply: Reply) -> bytes:
    match reply:
        case Delivery(topic=topic, content=content):
            return b"MSG %s %s\n" % (topic.encode(), strict_json.dumps(content))
        case ErrorReply(refusal=refusal, ref=ref):
            return f"ERROR {ref} {refusal.name} {refusal.message}\n".encode()
    return b"" if reply.ref is None else f"OK {reply.ref}\n".encode()


class ToyProtocol(LineReceiver):
    delimiter = b"\n"
    pauses_for_login = False
    connection: Connection | None = None

    def __init__(self, hub: Hub, admission: Admission) -> None:
        self._hub = hub
        self._admission = admission
        self._lines = 0

    def connectionMade(self) -> None:
        host = self.transport.getPeer().host
        try:
            wait = self._admission.reserve(client_network(host))
            self.connection = self._hub.admit(self, host, self._admission)
        except Refusal as refusal:
            self.send(ErrorReply(refusal))
            self.transport.loseConnection()
        else:
            self.transport.registerProducer(self.connection.send_queue, True)
            if wait:
                self.connection.hold(wait)

    def dataReceived(self, data: bytes) -> None:
        self._admission.stats.record_bytes_received(len(data))
        if self.connection is not None:
            self.connection.on_activity(len(data))
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if self.connection is not None and not self.connection.farewell:
            self._lines += 1
            self.connection.receive(decode(line, self._lines), len(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.connection is not None:
            self.connection.connection_lost()

    # The connection calls these: core.ports.Transport.

    def send(self, reply: Reply) -> int:
        line = encode(reply)
        self.transport.write(line)
        return len(line)

    def send_batch(self, batch: DeliveryBatch) -> int:
        return 0  # one by one

    def size_of(self, reply: Reply) -> int:
        return len(encode(reply))

    def close(self, why: Farewell) -> None:
        self.transport.write(f"BYE {why.message}\n".encode())
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        self.transport.abortConnection()

    def acknowledged_bytes(self) -> int | None:
        return acknowledged_bytes(self.transport)

    def limit_unsent(self, limited: bool) -> None:
        limit_unsent(self.transport, limited)

    def pause_reading(self) -> None:
        self.pauseProducing()

    def resume_reading(self) -> None:
        self.resumeProducing()


@define(eq=False)
class ToyFactory(Factory):
    _hub: Hub
    _admission: Admission
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> ToyProtocol:
        return ToyProtocol(self._hub, self._admission)


def toy_wire(config: Config) -> ListeningWire:
    """The line of the table that it is known by."""

    def make_listener(context: WireContext) -> WireListener:
        return WireListener(ToyFactory(context.core.hub, context.admissions["toy"]))

    return ListeningWire(
        name="toy",
        enabled=True,
        admissions=(
            AdmissionSettings(
                "toy", make_connection_limits(config, config.tcp), config.tcp.max_connections_per_ip
            ),
        ),
        host="127.0.0.1",
        port=0,
        make_listener=make_listener,
    )
