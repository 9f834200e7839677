"""Send over every protocol, subscribe over every protocol, and show how soon each message arrives.

    python -m examples.four_ways

Five subscribers: WebSocket, TCP, GraphQL over WebSocket, GraphQL over server-sent
events, REST's server-sent events.  Then one message is written by REST and one by GraphQL,
and one publication is sent by each of the four protocols.  The table shows the milliseconds
from sending to receiving; the exit status is 1 when a subscriber missed anything.
"""

from __future__ import annotations

import json
import queue
import secrets
import sys
import threading
import time
from contextlib import closing
from typing import Any, Callable, Iterable, Iterator

from .device import Device, address
from .events import graphql_events, topic_events
from .graphql_subscriber import refused, results
from .login import Refused, describe, options, request, run, token
from .websocket_subscriber import frames

LISTENERS = ("WebSocket", "TCP", "GraphQL-WS", "GraphQL-SSE", "REST-SSE")
TIMEOUT = 5.0  # seconds

Received = queue.Queue[tuple[str, str, float]]  # listener, text, when
Send = Callable[[str], object]


class Listeners:
    """A subscriber of each of `LISTENERS`, in a thread of its own, that puts what it receives into one queue."""

    def __init__(self, url: str, tcp: tuple[str, int], token: str, *topics: str) -> None:
        operations = [f'subscription {{ topic(pattern: "{topic}") {{ data }} }}' for topic in topics]
        self._received: Received = queue.Queue()
        self._listen("WebSocket", (f["data"] for f in frames(url, token, *topics) if f["type"] == "message"))
        self._listen("TCP", device_contents(Device(tcp, lambda: token, topics)))
        self._listen("GraphQL-WS", (r["data"]["topic"]["data"] for r in results(url, token, *operations)))
        for topic, operation in zip(topics, operations):
            events = graphql_events(url, token, operation)
            self._listen("GraphQL-SSE", (fields["data"]["topic"]["data"] for event, fields in events))
            events = topic_events(url, token, topic)
            self._listen("REST-SSE", (fields["data"] for event, fields in events if event == "message"))

    def time(self, send: Send, text: str, timeout: float = TIMEOUT) -> dict[str, float]:
        """Send `text`; the milliseconds until each listener received it, of those that did."""
        sent_at = time.perf_counter()
        send(text)
        took: dict[str, float] = {}
        while len(took) < len(LISTENERS) and (left := sent_at + timeout - time.perf_counter()) > 0:
            try:
                listener, received, at = self._received.get(timeout=left)
            except queue.Empty:
                break
            if received == text:
                took[listener] = (at - sent_at) * 1000
        return took

    def _listen(self, listener: str, contents: Iterable[Any]) -> None:
        threading.Thread(target=self._forward, args=(listener, contents), daemon=True).start()

    def _forward(self, listener: str, contents: Iterable[Any]) -> None:
        try:
            for content in contents:
                # A message is inside of its event, a publication is what was sent.
                text = content["message"]["content"] if isinstance(content, dict) else content
                self._received.put((listener, text, time.perf_counter()))
        except (OSError, Refused) as error:
            print(f"{listener}: {error}", file=sys.stderr)


def device_contents(device: Device) -> Iterator[Any]:
    while True:
        if message := device.receive(TIMEOUT):
            yield message["content"]


class WebSocketSender:
    """Publishes over a WebSocket of its own, and waits for the acknowledgement."""

    def __init__(self, url: str, token: str) -> None:
        from websockets.sync.client import connect

        self._socket = connect(f"{url.replace('http', 'ws', 1)}/ws", legacy=True)
        self._request({"type": "auth", "token": token})

    def publish(self, topic: str, data: str) -> None:
        self._request({"type": "message", "topic": topic, "data": data, "id": data})

    def close(self) -> None:
        self._socket.close()

    def _request(self, frame: dict[str, str]) -> None:
        self._socket.send(json.dumps(frame))
        answer = json.loads(self._socket.recv(TIMEOUT))
        if answer["type"] not in ("auth_success", "ack"):
            raise Refused(f"WebSocket: {describe(answer)}")


def senders(
    url: str, token: str, channel: str, topic: str, websocket: WebSocketSender, device: Device
) -> dict[str, Send]:
    """Every way to send: a message, which is stored, to the channel, or a publication to the topic."""

    def mutate(field: str) -> None:
        answer = request(f"{url}/graphql", {"query": f"mutation {{ {field} }}"}, token)
        if "errors" in answer:
            raise refused(answer["errors"])

    def rest_message(text: str) -> None:
        request(f"{url}/api/v1/messages", {"channelId": channel, "content": text}, token)

    def graphql_message(text: str) -> None:
        # A string is written the same in JSON and in GraphQL.
        mutate(f'sendMessage(input: {{channelId: "{channel}", content: {json.dumps(text)}}}) {{ id }}')

    def rest_publication(text: str) -> None:
        request(f"{url}/api/v1/topics/{topic}", {"data": text}, token)

    def graphql_publication(text: str) -> None:
        mutate(f'publish(topic: "{topic}", data: {json.dumps(text)}) {{ topic }}')

    return {
        "message by REST": rest_message,
        "message by GraphQL": graphql_message,
        "publication by REST": rest_publication,
        "publication by GraphQL": graphql_publication,
        "publication by WebSocket": lambda text: websocket.publish(topic, text),
        "publication by TCP": lambda text: device.publish(topic, text),
    }


def wait_for(listeners: Listeners, send: Send) -> None:
    """Wait until all are subscribed: not every protocol confirms that, so each must receive a probe."""
    for attempt in range(20):
        if len(listeners.time(send, f"probe {attempt}", timeout=0.25)) == len(LISTENERS):
            return
    print("not every listener receives the probes; going on all the same", file=sys.stderr)


def row(title: str, cells: Iterable[str]) -> str:
    return f"{title:<26}" + "".join(f"{cell:>13}" for cell in cells)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--tcp", type=address, default=("127.0.0.1", 3001), metavar="HOST:PORT")
    given = parser.parse_args()
    access = token(given.url, given.account)
    channel = f"four-ways-{secrets.token_hex(4)}"  # only of this run
    topic = f"demo.{channel}"

    device = Device(given.tcp, lambda: access)
    # The sender comes first: it imports `websockets`, which two threads of listeners can't do at the same moment.
    with closing(device), closing(WebSocketSender(given.url, access)) as websocket:
        listeners = Listeners(given.url, given.tcp, access, f"messages.channel.{channel}", topic)
        wait_for(listeners, lambda text: websocket.publish(topic, text))
        print(row("milliseconds until heard", LISTENERS))
        missed = 0
        for title, send in senders(given.url, access, channel, topic, websocket, device).items():
            took = listeners.time(send, f"{title}, {channel}")
            missed += len(LISTENERS) - len(took)
            print(row(title, (f"{took[name]:.1f}" if name in took else "-" for name in LISTENERS)))
    if missed:
        sys.exit(f"{missed} not heard within {TIMEOUT:.0f} s")


if __name__ == "__main__":
    run(main)
