"""Idempotency keys: a publication or message takes effect once, however often it is repeated.

docs/guarantees.md#g5-idempotent-sends

A key is claimed in the transaction of what it is for, so a repetition finds
either nothing or all of it: across a crash, a restart and another instance.
Stored are a hash of the request and the ids from which the response is made.
"""

from __future__ import annotations

import hashlib
from typing import Callable

from attrs import define, frozen

from ..base.timestamps import format_timestamp, parse_timestamp
from .errors import Conflict, Refusal, Unauthorized, ValidationError
from .ports import Store
from .transactions import Event, Query, Step, Unit

KEY_RETENTION = 86_400.0  # seconds
MAX_KEY_LENGTH = 128  # characters


@frozen
class SendResult:
    """What was stored, now or by the first request with the same key."""

    result_id: str  # of the publication or message
    at: str  # RFC 3339
    cursor: str


class _KeyAlreadyClaimed(Refusal):
    """An earlier request has this key."""


def is_key(text: str) -> bool:
    return 1 <= len(text) <= MAX_KEY_LENGTH and text.isprintable()


def check_key(key: str, field: str = "idempotencyKey") -> str:
    """Return `key`, which the client wrote as `field`, if it is valid, else raise `ValidationError`."""
    if not is_key(key):
        raise ValidationError.for_field(field, f"Must have 1 to {MAX_KEY_LENGTH} printable characters")
    return key


@define(eq=False, repr=False)
class IdempotentSends:
    _store: Store
    _deletion_now: Callable[[], float]  # seconds since the epoch: keys are forgotten by it
    _time_behind: Callable[[], float] = lambda: 0.0  # seconds by which the time of day is behind

    async def commit(
        self,
        user_id: str,
        key: str | None,
        body: object,
        steps: tuple[Step, ...],
        event: Event,
        result_id: str,
        earlier_body: object = None,
    ) -> SendResult:
        """Commit `steps` and `event`, or give the result of the first request with the same `key` and `body`.

        `body` is the request, with a `repr` that differs for different ones, and `earlier_body` is it as earlier
        versions of this server wrote it; `result_id` is the id of what is stored.  Raises `Conflict` where the key
        was used for another body.
        """
        if key is None:
            return SendResult(
                result_id, event.occurred_at, await self._store.commit(Unit(steps, (event,), user_id))
            )
        fingerprint = _fingerprint(body)
        while True:
            result = await self._claim(user_id, key, fingerprint, steps, event, result_id)
            if result is None:
                result = await self._previous_result(user_id, key, fingerprint, earlier_body)
            if result is not None:
                return result
            # The key was pruned since it was found, or its user is deleted.

    async def _claim(
        self,
        user_id: str,
        key: str,
        fingerprint: str,
        steps: tuple[Step, ...],
        event: Event,
        result_id: str,
    ) -> SendResult | None:
        """Commit `steps` and `event` together with the key; `None` where an earlier request has it."""
        claim = {
            "user_id": user_id,
            "key": check_key(key),
            "fingerprint": fingerprint,
            "event_id": event.id,
            "answer": result_id,
            "at": self._claimed_at(event.occurred_at),
            "expired": format_timestamp(self._deletion_now() - KEY_RETENTION),
        }
        closed = Unauthorized("This account is closed")
        try:
            unit = Unit(
                (
                    Step("key_claim", claim, expected_rows=1, miss=_KeyAlreadyClaimed(""), clash=closed),
                    *steps,
                ),
                (event,),
                user_id,
            )
            return SendResult(result_id, event.occurred_at, await self._store.commit(unit))
        except _KeyAlreadyClaimed as claimed:
            claimed.__traceback__ = None  # its frames hold `unit`, which holds it: garbage in a circle
            return None

    def _claimed_at(self, occurred_at: str) -> str:
        """`occurred_at`, or what it should be while the time of day is behind: by that, the key would seem old later."""
        behind = self._time_behind()
        return format_timestamp(parse_timestamp(occurred_at) + behind) if behind else occurred_at

    async def _previous_result(
        self, user_id: str, key: str, fingerprint: str, earlier_body: object
    ) -> SendResult | None:
        """The result of the first request; `None` where it is no longer known."""
        claims = await self._store.read(Query("key_of", {"user_id": user_id, "key": key}))
        if not claims.results[0]:
            return None
        (claim,) = claims.results[0]
        if claim["fingerprint"] not in (fingerprint, _fingerprint(earlier_body)):
            raise Conflict("This idempotency key was used for something else")
        positions = await self._store.read(Query("event_position", {"id": claim["event_id"]}))
        rows = positions.results[0]
        # An event that was pruned since has no cursor any more; the log's head is after it, too.
        cursor = self._store.cursor_of(rows[0]["position"]) if rows else positions.cursor
        return SendResult(claim["answer"], claim["created_at"], cursor)


def _fingerprint(body: object) -> str:
    return hashlib.sha256(repr(body).encode()).hexdigest()
