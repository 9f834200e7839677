"""Events as rows of the log, the same on every engine."""

from __future__ import annotations

from typing import Any

from ..base import strict_json
from ..core.errors import DataDamaged
from ..core.transactions import Entry, Event, Row
from .cursors import Terms


def event_to_row(position: int, event: Event) -> dict[str, object]:
    """The parameters of the statement `log_append`."""
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
    """The entry of a row that one of the log's statements gave."""
    content = row["content"]
    try:
        topics, metadata = tuple(strict_json.loads_trusted(row["topics"])), _parse_json(row["metadata"])
        parsed = _parse_json(content)
    except ValueError:  # whose text has some of the content in it
        raise DataDamaged(f"the event at position {row['position']} of the log is no JSON") from None
    event = Event(
        row["id"],
        row["type"],
        topics,
        parsed,
        row["subject"],
        row["created_at"],
        row["namespace"],
        row["sender"],
        metadata,
        None if content is None else content.encode(),
    )
    position = row["position"]
    return Entry(position, terms.cursor_of(position), event, redacted=content is None)


def _parse_json(text: str | None) -> Any:
    return None if text is None else strict_json.loads_trusted(text)
