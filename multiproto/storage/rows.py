"""Events as rows of the log, for every engine alike."""

from __future__ import annotations

import json
from typing import Any

from ..base import strict_json
from ..core.transactions import Entry, Event, Row
from .cursors import Terms

# Where a page ends, whichever comes first.
PAGE_MAX_SCANNED = 4096  # entries looked at
PAGE_MAX_ENTRIES = 1024
PAGE_MAX_CHARACTERS = 1 << 20  # characters of content and metadata, but for what the last entry has beyond


def event_to_row(position: int, event: Event) -> dict[str, object]:
    """What `log_append` takes."""
    content = strict_json.dumps(event.content) if event.encoded_content is None else event.encoded_content
    return {
        "position": position,
        "id": event.id,
        "type": event.type,
        "topics": strict_json.dumps(event.topics).decode(),
        "content": content.decode(),
        "subject": event.subject,
        "at": event.occurred_at,
        "namespace": event.namespace,
        "sender": event.sender_id,
        "metadata": None if event.metadata is None else strict_json.dumps(event.metadata).decode(),
    }


def entry_from_row(row: Row, terms: Terms) -> Entry:
    """What the log's statements give."""
    content = row["content"]
    event = Event(
        row["id"],
        row["type"],
        tuple(json.loads(row["topics"])),
        _parse_json(content),
        row["subject"],
        row["created_at"],
        row["namespace"],
        row["sender"],
        _parse_json(row["metadata"]),
        None if content is None else content.encode(),
    )
    position = row["position"]
    return Entry(position, terms.cursor_of(position), event, redacted=content is None)


def json_prefix(lead: str) -> str:
    """`lead` as it begins within a JSON array of topics: without the closing quote."""
    return strict_json.dumps(lead).decode()[:-1]


def _parse_json(text: str | None) -> Any:
    """What we once wrote: the strict reader is for what clients send, a level less deep."""
    return None if text is None else json.loads(text)
