"""Print the results of GraphQL subscriptions, over WebSocket (graphql-transport-ws).

    python -m examples.graphql_subscriber 'subscription { messageSent { content user { name } } }'
    python -m examples.graphql_subscriber 'subscription { topic(pattern: "sensors.*") { topic data } }'

The same works without a WebSocket, as server-sent events: POST the operation to /graphql
with `Accept: text/event-stream`.  Needs the package `websockets`.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Callable, Iterator

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from .login import Refused, options, run, token


def results(
    url: str, token: str, *operations: str, asked: Callable[[], object] = lambda: None
) -> Iterator[dict[str, Any]]:
    """The results of all `operations`, on one connection, as they come.

    The protocol has no word for "subscribed"; `asked` is called when the operations are
    on their way.  Raises `Refused` when the server declines, `ConnectionError` when it
    hangs up.
    """
    address = f"{url.replace('http', 'ws', 1)}/graphql"
    try:
        with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as websocket:
            hello = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
            websocket.send(json.dumps(hello))
            while True:
                frame = json.loads(websocket.recv())
                match frame["type"]:
                    case "connection_ack":
                        for number, operation in enumerate(operations):
                            subscribe = {"id": str(number), "type": "subscribe"}
                            websocket.send(json.dumps(subscribe | {"payload": {"query": operation}}))
                        asked()
                    case "ping":
                        websocket.send(json.dumps({"type": "pong"}))
                    case "next":
                        yield frame["payload"]
                    case "error":
                        raise Refused("; ".join(error["message"] for error in frame["payload"]))
                    case "complete":
                        return
    except WebSocketException as ended:
        raise ConnectionError(str(ended)) from None


def subscribed() -> None:
    print("subscribed", file=sys.stderr, flush=True)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("operation", help="a subscription in GraphQL's own language")
    given = parser.parse_args()
    access = token(given.url, given.account)
    for answer in results(given.url, access, given.operation, asked=subscribed):
        print(json.dumps(answer, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    run(main)
