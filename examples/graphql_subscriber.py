"""Print the results of GraphQL subscriptions, over WebSocket (graphql-transport-ws).

    python -m examples.graphql_subscriber 'subscription { messageSent { content user { name } } }'
    python -m examples.graphql_subscriber 'subscription { topic(pattern: "sensors.*") { topic data } }'

    python -m examples.graphql_subscriber --cursor hello.cursor \\
        'subscription($after: String) { messageSent(channelId: "hello", after: $after) { content } }'

When the connection is lost it connects again.  An operation that takes a variable `$after: String` goes on
where it was, and with --cursor also when it is started again: of logged topics nothing is missed, nothing shown
twice.  The same works without a WebSocket, as server-sent events: POST the operation to /graphql
with `Accept: text/event-stream`.  Needs the package `websockets`.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Callable, Iterator

from .cursors import Cursors, cursor_option, follow, recovery
from .login import Refused, describe, options, request, run, token


def results(
    url: str,
    token: str,
    *operations: str,
    variables: dict[str, Any] | None = None,
    asked: Callable[[], object] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """The results of all `operations`, on one connection, as they come.

    The protocol has no word for "subscribed"; `asked` is called when the operations are
    on their way.  Raises `Refused` when the server declines, `ConnectionError` when it
    hangs up.
    """
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

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
                            payload = {"query": operation, "variables": variables or {}}
                            subscribe = {"id": str(number), "type": "subscribe", "payload": payload}
                            websocket.send(json.dumps(subscribe))
                        asked()
                    case "ping":
                        websocket.send(json.dumps({"type": "pong"}))
                    case "next":
                        yield frame["payload"]
                    case "error":
                        raise refused(frame["payload"])
                    case "complete":
                        return
    except WebSocketException as ended:
        raise ConnectionError(str(ended)) from None


def newest_cursor(url: str, token: str) -> str:
    """Where the log ends now, and a subscription may begin.

    The protocol has no word for "subscribed", so a subscription by itself has no cursor before its first result.
    """
    answer = request(f"{url}/graphql", {"query": "{ messages(limit: 1) { cursor } }"}, token)
    if "errors" in answer:
        raise refused(answer["errors"])
    cursor: str = answer["data"]["messages"]["cursor"]
    return cursor


def refused(errors: list[dict[str, Any]]) -> Refused:
    status = errors[0].get("extensions", {}).get("status", 400)
    return Refused("; ".join(map(describe, errors)), status)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("operation", help="a subscription in GraphQL's own language")
    cursor_option(parser)
    given = parser.parse_args()
    if not re.search(r"\bsubscription\b", given.operation):
        parser.error("the operation is no subscription { … }, which alone has results as they come")
    resumes = "$after" in given.operation
    if given.cursor and not resumes:
        parser.error("--cursor: the operation takes no $after, as in subscription($after: String) {…}")
    cursors = Cursors(given.cursor)

    def note(cursor: str | None) -> None:
        """A subscription has one place, and does not say when it has caught up: it always stands there."""
        cursors.note("caught_up", {"topic": "", "cursor": cursor})

    def connect() -> Iterator[dict[str, Any]]:
        access = token(given.url, given.account)
        if not resumes:
            return results(given.url, access, given.operation, asked=lambda: say("asked: results follow"))
        cursor = cursors.after("")
        if cursor is None:
            cursor = newest_cursor(given.url, access)
            note(cursor)
        after = {"after": cursor}
        return results(
            given.url,
            access,
            given.operation,
            variables=after,
            asked=lambda: say("asked, resuming: results follow"),
        )

    for answer in follow(connect):
        print(json.dumps(answer, ensure_ascii=False), flush=True)
        extensions = answer.get("extensions", {})
        if extensions.get("recovered") is False:
            say(f"subscribed{recovery(False)}")
        note(extensions.get("cursor"))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
