"""Print what is published on some topics, over WebSocket, as it comes.

    python -m examples.websocket_subscriber messages.channel.hello
    python -m examples.websocket_subscriber 'messages.**' 'sensors.*'

`*` stands for one word of a topic, `**` for any number of them.  What you may not read,
like other people's direct messages, is left out.  Needs the package `websockets`.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Iterator

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from .login import Refused, options, run, token


def frames(url: str, token: str, *patterns: str) -> Iterator[dict[str, Any]]:
    """Authenticate, subscribe, and yield what the server sends, frame by frame.

    There is no need to wait for replies: the server processes frames in order.  Raises
    `Refused` when it declines, `ConnectionError` when it closes.
    """
    try:
        with connect(f"{url.replace('http', 'ws', 1)}/ws") as websocket:
            websocket.send(json.dumps({"type": "auth", "token": token}))
            for pattern in patterns:
                websocket.send(json.dumps({"type": "subscribe", "topic": pattern}))
            while True:
                frame = json.loads(websocket.recv())
                if frame["type"] in ("auth_error", "error"):
                    raise Refused(frame["message"])
                yield frame
    except WebSocketException as ended:
        raise ConnectionError(str(ended)) from None


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("patterns", nargs="+", metavar="TOPIC", help="topic or pattern to subscribe to")
    given = parser.parse_args()
    for frame in frames(given.url, token(given.url, given.account), *given.patterns):
        if frame["type"] == "message":
            print(frame["topic"], json.dumps(frame["data"], ensure_ascii=False), flush=True)
        elif frame["type"] == "subscribed":
            print("subscribed to", frame["topic"], file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
