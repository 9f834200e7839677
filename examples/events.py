"""Print what is published on a topic, as server-sent events over plain HTTP.

    python3 -m examples.events messages.channel.hello
    python3 -m examples.events --cursor hello.cursor messages.channel.hello

When the connection is lost it connects again, and goes on where it was.  With --cursor it
does so, too, when it is started again: of logged topics nothing is missed, nothing shown twice.
`curl -N` shows the same stream as it is.  Standard library only.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Iterable, Iterator
from urllib.parse import quote

from .cursors import Cursors, cursor_option, follow, print_subscribed
from .login import Refused, options, reason, run, token

SILENCE = 90.0  # seconds without a line; the server sends one every 30

Event = tuple[str, dict[str, Any]]  # its name and its data


def topic_events(url: str, token: str, pattern: str, after: str | None = None) -> Iterator[Event]:
    """REST's own stream: first "subscribed", then "message" for each delivery of `pattern`.

    With the cursor `after`, deliveries begin behind it, and "caught_up" comes where new ones begin.
    """
    where = f"{url}/api/v1/topics/{quote(pattern, safe='')}/events"
    if after is not None:
        where += f"?after={quote(after)}"
    return _events(urllib.request.Request(where), token)


def graphql_events(url: str, token: str, operation: str) -> Iterator[Event]:
    """GraphQL over server-sent events: "next" for each result of a subscription."""
    body = json.dumps({"query": operation}).encode()
    asked = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    return _events(asked, token)


def _events(asked: urllib.request.Request, token: str) -> Iterator[Event]:
    """Until the stream ends; raises `Refused` when the server declines, `ConnectionError` when it is cut off."""
    asked.add_header("Accept", "text/event-stream")
    asked.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(asked, timeout=SILENCE) as stream:
            yield from _parsed(stream)
    except urllib.error.HTTPError as error:
        raise Refused(reason(error), error.code) from None
    except http.client.HTTPException as error:
        raise ConnectionError(f"the stream broke off ({error!r})") from None


def _parsed(stream: Iterable[bytes]) -> Iterator[Event]:
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
    cursor_option(parser)
    given = parser.parse_args()
    cursors = Cursors(given.cursor)

    def connect() -> Iterator[Event]:
        access = token(given.url, given.account)
        return topic_events(given.url, access, given.pattern, cursors.after(given.pattern))

    for event, fields in follow(connect):
        if event == "message":
            print(fields["topic"], json.dumps(fields["data"], ensure_ascii=False), flush=True)
        elif event == "subscribed":
            print_subscribed(fields)
        if event != "farewell":
            cursors.note(event, fields)


if __name__ == "__main__":
    run(main)
