"""Print what is published on some topics, over WebSocket, as it comes.

    python -m examples.websocket_subscriber messages.channel.hello
    python -m examples.websocket_subscriber 'messages.**' 'sensors.*'
    python -m examples.websocket_subscriber --cursor hello.cursor messages.channel.hello

When the connection is lost it connects again, and goes on where it was.  With --cursor it
does so, too, when it is started again: of logged topics nothing is missed, nothing shown twice.
(Where two of the patterns cover a message, each of them replays it.)
`*` stands for one word of a topic, `**` for any number of them.  What you may not read,
like other people's direct messages, is left out.  Needs the package `websockets`.
"""

from __future__ import annotations

import json
from typing import Any, Iterator

from .cursors import Cursors, cursor_option, follow, print_subscribed
from .login import Refused, describe, options, run, token


def frames(url: str, token: str, *patterns: str, cursors: Cursors | None = None) -> Iterator[dict[str, Any]]:
    """Authenticate, subscribe, and yield what the server sends, frame by frame.

    With `cursors`, each subscription resumes where they say.  There is no need to wait for replies: the server
    processes frames in order.  Raises `Refused` when it declines, `ConnectionError` when it closes.
    """
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        with connect(f"{url.replace('http', 'ws', 1)}/ws") as websocket:
            websocket.send(json.dumps({"type": "auth", "token": token}))
            for pattern in patterns:
                after = cursors and cursors.after(pattern)
                subscribe = {"type": "subscribe", "topic": pattern, "id": pattern}
                websocket.send(json.dumps(subscribe if after is None else subscribe | {"after": after}))
            while True:
                frame = json.loads(websocket.recv())
                if frame["type"] in ("auth_error", "error"):
                    raise Refused(describe(frame), frame["code"])
                yield frame
    except WebSocketException as ended:
        raise ConnectionError(str(ended)) from None


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("patterns", nargs="+", metavar="TOPIC", help="topic or pattern to subscribe to")
    cursor_option(parser)
    given = parser.parse_args()
    cursors = Cursors(given.cursor)

    def connect() -> Iterator[dict[str, Any]]:
        return frames(given.url, token(given.url, given.account), *given.patterns, cursors=cursors)

    for frame in follow(connect):
        if frame["type"] == "message":
            print(frame["topic"], json.dumps(frame["data"], ensure_ascii=False), flush=True)
        elif frame["type"] == "subscribed":
            print_subscribed(frame)
        cursors.note(frame["type"], frame)


if __name__ == "__main__":
    run(main)
