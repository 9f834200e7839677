"""Units of work as the core makes them, for tests that do not care for the core."""

from __future__ import annotations

from multiproto.base.timestamps import format_timestamp
from multiproto.core.domain.accounts import closing_steps
from multiproto.core.errors import Conflict, NotFound, Refusal
from multiproto.core.transactions import Event, Query, Step, Unit

TAKEN = Conflict("Email already registered")
STRANGER = NotFound("User not found")
GONE = NotFound("gone")


def at(second: float) -> str:
    return format_timestamp(1_800_000_000 + second)


def event(id: str, subject: str, type: str = "message.sent", /, **content: object) -> Event:
    topics = ("messages", f"messages.user.{subject}")
    return Event(id, type, topics, content, subject, at(0), "messages.**")


def published(
    id: str, topic: str, content: object = None, second: float = 0, namespace: str = "telemetry.**"
) -> Event:
    """What a client says on a topic of its own."""
    return Event(id, "message", (topic,), content, "", at(second), namespace, "ada", {"unit": "°C"})


def say(*events: Event) -> Unit:
    return Unit((), events)


def claim(user: str, key: str, second: float = 0, expired: float = -100, **kept: object) -> Unit:
    """Of a key that is told of as taken."""
    params = {"fingerprint": "f", "event_id": "e", "answer": None} | kept
    return step("key_claim", user_id=user, key=key, at=at(second), expired=at(expired), **params)


def _add(name: str, params: dict[str, object], second: float, refusal: Refusal, *events: Event) -> Unit:
    """A row at the position of its event; of one without, at one that goes by its time."""
    if not events:
        params |= {"position": int(second * 10_000)}
    place = 0 if events else None
    return Unit((Step(name, params, expected_rows=1, miss=refusal, clash=refusal, event=place),), events)


def add_user(id: str, second: float = 0, *events: Event) -> Unit:
    params: dict[str, object] = {
        "id": id,
        "email": f"{id.upper()}@x.org",
        "email_key": f"{id}@x.org",
        "name": id.title(),
        "password_hash": "$2b$",
        "at": at(second),
    }
    return _add("user_add", params, second, TAKEN, *events)


def amend_user(id: str, version: int, second: float = 0) -> Unit:
    params = {
        "id": id,
        "version": version,
        "email": f"new-{id}@x.org",
        "email_key": f"new-{id}@x.org",
        "name": "New",
        "password_hash": "$3$",
        "at": at(second),
    }
    return Unit((Step("user_amend", params, expected_rows=1, miss=GONE, clash=TAKEN),))


def add_message(
    id: str,
    user: str,
    second: float = 0,
    *events: Event,
    channel: str | None = None,
    to: str | None = None,
    content: str = "hello",
) -> Unit:
    params: dict[str, object] = {
        "id": id,
        "user_id": user,
        "content": content,
        "channel_id": channel,
        "recipient_id": to,
        "at": at(second),
    }
    return _add("message_add", params, second, STRANGER, *events)


def withdraw(id: str, *events: Event) -> Unit:
    return Unit(
        (
            Step("message_drop", {"id": id}, expected_rows=1, miss=GONE),
            Step("log_blank", {"subject": id}),
        ),
        events,
    )


def close_account(id: str, *events: Event) -> Unit:
    return Unit(closing_steps(id, at(0), at(0)), events)


def add_session(id: str, user: str, second: float = 0, most: int = 100) -> Unit:
    params = {
        "id": id,
        "user_id": user,
        "at": at(second),
        "now": at(second),
        "expires_at": at(100),
        "most": most,
    }
    params |= {"password_hash": "$2b$", "address": "192.0.2.1", "client": "curl/8"}
    return Unit((Step("session_add", params, expected_rows=1, miss=GONE, clash=GONE),))


def add_credential(id: str, user: str, name: str, expires: float | None = None, most: int = 100) -> Unit:
    params = {
        "id": id,
        "user_id": user,
        "name": name,
        "hash": f"hash of {id}",
        "grants": "publish a.**\nsubscribe b",
        "at": at(0),
        "expires_at": None if expires is None else at(expires),
        "most": most,
    }
    return Unit((Step("credential_add", params, expected_rows=1, miss=GONE, clash=TAKEN),))


def step(name: str, **params: object) -> Unit:
    """A unit of one statement that must affect one row."""
    return Unit((Step(name, params, expected_rows=1, miss=GONE, clash=GONE),))


def user_by_id(id: str) -> Query:
    return Query("user_by_id", {"id": id})
