"""Print what is published on a topic, as server-sent events over plain HTTP.

    python3 -m examples.events messages.channel.hello

`curl -N` shows the same stream as it is.  Standard library only.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any, Iterator
from urllib.parse import quote

from .login import options, run, token

Event = tuple[str, dict[str, Any]]  # its name and its data


def topic_events(url: str, token: str, pattern: str) -> Iterator[Event]:
    """REST's own stream: first "subscribed", then "message" for each delivery of `pattern`."""
    where = f"{url}/api/v1/topics/{quote(pattern, safe='')}/events"
    return _events(urllib.request.Request(where), token)


def graphql_events(url: str, token: str, operation: str) -> Iterator[Event]:
    """GraphQL over server-sent events: "next" for each result of a subscription."""
    body = json.dumps({"query": operation}).encode()
    asked = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    return _events(asked, token)


def _events(asked: urllib.request.Request, token: str) -> Iterator[Event]:
    asked.add_header("Accept", "text/event-stream")
    asked.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(asked) as stream:
        event, data = "message", ""
        for line in stream:
            field, _, value = line.decode().rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                event = value
            elif field == "data":
                data += value
            elif not field and not value:  # an empty line ends an event; a comment has a value
                if data:
                    yield event, json.loads(data)
                event, data = "message", ""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("pattern", metavar="TOPIC", help="topic or pattern to subscribe to")
    given = parser.parse_args()
    for event, said in topic_events(given.url, token(given.url, given.account), given.pattern):
        if event == "message":
            print(said["topic"], json.dumps(said["data"], ensure_ascii=False), flush=True)
        else:
            print(event, json.dumps(said), file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
