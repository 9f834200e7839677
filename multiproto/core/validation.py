"""Validates the fields of a request, for every wire: all faults are listed, not the first alone.

The rules are in docs/common.md#limits-on-input.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice
from typing import Callable, Collection, Iterable, Mapping, Sequence

from attrs import Factory, define

from ..base.spelling import edit_distance, nearest
from ..base.unicode_text import (
    code_point,
    is_invisible,
    is_joiner,
    is_letter_or_mark,
    remove_joiners,
    split_graphemes,
    to_nfc,
)
from .errors import FieldError, ValidationError
from .idempotency import check_key
from .mailbox import MAX_LENGTH, is_mailbox, normalize_mailbox
from .protocol import Ref
from .pubsub.topics import MAX_TOPIC_BYTES, channel_topic, is_word

MAX_REF_LENGTH = 255  # characters; the reply has it, too, and must fit a frame
MAX_MESSAGE_LENGTH = 10_000  # characters of a message
MAX_CHANNEL_LENGTH = 100  # characters
MAX_KEPT_CHANNEL_LENGTH = 255  # characters of one that the predecessor had
MAX_CREDENTIAL_NAME_LENGTH = 64  # characters of a credential's name
MAX_PASSWORD_BYTES = 72  # bcrypt ignores the rest
MAX_CHECKED_PASSWORD = 255  # characters; what is longer has too many bytes, whatever they are
MAX_PAGE = 2**31 - 1  # the largest GraphQL Int; beyond it an offset would overflow the database's integers
MAX_LIMIT = 100
# Between a field's name and an unknown one that is taken for it, and fewer than half of its letters.
MAX_EDITS = 2
MAX_LISTED = 3  # characters that a value may not have, named in an error
MAX_UNKNOWN_FIELDS = 16  # of a request that are looked at: comparing one with ten names takes 0.1 ms

# What a name may have beside letters: spaces and dashes by their categories (Zs, Pd) and these.
_DASHES = "\u2053\u207b\u208b\u2212"  # the swung dash, and minus signs
_APOSTROPHES = "'`\u00b4\u2018\u2019\u201b\u2032\u055a\u05f3\u05f4\uff07"  # all others are letters
_MIDDLE_DOTS = "\u00b7\u2027\u2e31\u2e33\u30fb\uff65"
_HANGUL_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters that nobody sees

# An unknown field's name that an error repeats: of any other text, nobody can say that it is no secret.
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DURATION = re.compile(r"([1-9][0-9]{0,9})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

IDEMPOTENCY_HEADER = "the header Idempotency-Key"
# Fields that other requests, or other servers, have, and which field is meant by them here, where it is known: what was
# ignored would begin a list or a stream anew, show what was to be left out, or send twice.  Names without case and marks.
_MEANT_BY = {
    "cursor": ("before", "after"),
    "lasteventid": ("after",),
    "offset": ("page",),
    "recipientid": ("userId", "channelId"),
    "key": (IDEMPOTENCY_HEADER,),
    "idempotencykey": (IDEMPOTENCY_HEADER,),
    "topic": ("pattern",),
    "verb": ("verbs",),
    "content": ("data",),
    "data": ("content",),
    "channel": ("topic",),
    "channelid": ("topic",),
}

RequestFields = Mapping[str, object]  # unvalidated
ErrorMessages = list[str]


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def check_id(text: str, field: str = "id") -> str:
    """A UUID in lower case, from either case.  Raises `ValidationError`."""
    id = text.lower()
    if not is_uuid(id):
        raise ValidationError.for_field(field, "Must be a UUID")
    return id


def misspelt_fields(
    fields: Iterable[str], optional: Collection[str], missing: Collection[str] = ()
) -> list[FieldError]:
    """An error for each of the unknown `fields` that must be a mistake, naming the field that was meant.

    It is one if another request has it for what an `optional` or `missing` field is here; if it is nearly the name of
    an `optional` field, which would be absent without a word; or if required fields are `missing`, of which it may be
    one.  All others may be for somebody else.
    """
    errors = []
    for name in islice(filter(_FIELD_NAME.fullmatch, fields), MAX_UNKNOWN_FIELDS):
        meant = _meant_elsewhere(name, optional, missing)
        near = [
            known
            for known in optional
            if abs(len(known) - len(name)) <= MAX_EDITS
            # More in a short name make another word: `to` or `uid` is no `id`, `seq` no `key`, `name` no `page`.
            and edit_distance(name, known) <= min(MAX_EDITS, (len(known) - 1) // 2)
        ]
        if meant is None and (near or missing):
            meant = nearest(name, near or missing)
        if meant is not None:
            errors.append(FieldError((name,), f"Unknown field: did you mean {meant}?"))
    return errors


def _meant_elsewhere(name: str, *known: Collection[str]) -> str | None:
    """Which of the `known` fields are what `name` is in other requests."""
    folded = name.replace("_", "").replace("-", "").casefold()
    meant = [field for field in _MEANT_BY.get(folded, ()) if any(field in fields for fields in known)]
    return " or ".join(meant) or None


@define(eq=False, repr=False)
class FieldValidator:
    """The fields of one request.  Get each, then call `check` before using any.

    What was not got is an unknown field: see `misspelt_fields`.
    """

    _fields: RequestFields
    _errors: list[FieldError] = Factory(list)
    _required: set[str] = Factory(set)  # the fields that were got
    _optional: dict[str, None] = Factory(dict)  # likewise, in order
    _missing: list[str] = Factory(list)
    _null_if_absent: list[str] = Factory(list)

    def email(self, required: bool = True) -> str:
        """A mailbox address, as it is stored."""
        return self._validated_text("email", _email_errors, required, normalize_mailbox)

    def name(self, required: bool = True) -> str:
        """The name of a person, in NFC."""
        return self._validated_text("name", _name_errors, required, lambda text: to_nfc(text.strip()))

    def password(self, required: bool = True) -> str:
        """A new password, in NFC, as it is hashed."""
        return self._validated_text("password", _password_errors, required, to_nfc)

    def content(self) -> str:
        return self._validated_text("content", _content_errors)

    def channel_id(self, required: bool = False) -> str:
        return self._validated_text("channelId", _channel_errors, required)

    def topical_channel_id(self, required: bool = False) -> str:
        """One that has a topic: to send to, or to subscribe to."""
        return self._validated_text("channelId", _topical_channel_errors, required)

    def channel_filter(self) -> str:
        """The field `channelId` of a list: also a channel that nobody can send to any more."""
        return self._validated_text("channelId", _channel_filter_errors)

    def credential_name(self) -> str:
        """The field `name` of a credential."""
        return self._validated_text("name", _credential_name_errors)

    def duration(self, field: str, most: int) -> int | None:
        """Seconds, from text such as 90s, 15m, 12h, 30d; at most `most` days.  `None` where it is absent or invalid."""
        value = self.value(field)
        if value is None:
            return None
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = int(found[1]) * _UNIT_SECONDS[found[2]] if found else 0
        if not 1 <= seconds <= most * _UNIT_SECONDS["d"]:
            self.add_error(field, f"Must be a time such as 90s, 15m, 12h or 30d, of at most {most}d")
        return seconds

    def uuid(self, field: str, required: bool = True) -> str:
        """An id in lower case, from either case."""
        return self._validated_text(field, _uuid_errors, required).lower()

    def text(self, field: str) -> str:
        """Any text, for what is only compared, e.g. a password at login."""
        return self._validated_text(field, lambda text: [])

    def optional_text(self, field: str) -> str | None:
        """As `text`, of a field that may be absent."""
        return self.text(field) if self.has(field) else None

    def ref(self) -> Ref:
        """The field `id`, by which the client names its request, if it is valid."""
        id = self.value("id")
        if isinstance(id, str) and len(id) <= MAX_REF_LENGTH:
            return id
        if isinstance(id, (int, float)) and not isinstance(id, bool):
            return id
        if id is not None:
            self.add_error("id", f"Must be a number or a string of at most {MAX_REF_LENGTH} characters")
        return None

    def integer(self, field: str, default: int, most: int) -> int:
        """From 1 to `most`; digits in a string, as in a URL's query, are accepted, too."""
        value = self.value(field)
        if value is None:
            return default
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.add_error(field, "Must be an integer")
        elif not 1 <= value <= most:
            self.add_error(field, f"Must be from 1 to {most}")
        else:
            return value
        return default

    def boolean(self, field: str) -> bool:
        """False where it is absent; the words in a string, as in a form, are accepted, too."""
        value = self.value(field)
        if not (value is None or isinstance(value, bool) or value in ("true", "false")):
            self.add_error(field, "Must be true or false")
        return value in (True, "true")

    def has(self, field: str) -> bool:
        return self.value(field) is not None

    def value(self, field: str) -> object:
        """Any value, `None` where it is absent, to be validated by the caller."""
        if field not in self._required:
            self._optional[field] = None
        return self._fields.get(field)

    def json(self, field: str, null_if_absent: bool = False) -> object:
        """Any value, of a field that must be there even if it is null.

        With `null_if_absent` it may be absent, but not beside an unknown field: that was meant for it.
        """
        self._required.add(field)
        if field not in self._fields:
            if null_if_absent:
                self._null_if_absent.append(field)
            else:
                self._add_missing(field)
        return self._fields.get(field)

    def optional_object(self, field: str) -> dict[str, object] | None:
        value = self.value(field)
        if value is None or isinstance(value, dict):
            return value
        self.add_error(field, "Must be an object")
        return None

    def idempotency_key(self) -> str | None:
        """The field `key` or `idempotencyKey`: either, or both with the same value."""
        found = None
        for field in ("key", "idempotencyKey"):
            if self.has(field):
                key = self._validated_text(field, _key_errors, required=False)
                if found not in (None, key):
                    self.add_error(field, "Must be the same as key")
                found = key
        return found

    def expect_idempotency_header(self) -> None:
        """The idempotency key is in the header: a field that is meant as one is refused."""
        self._optional[IDEMPOTENCY_HEADER] = None

    def add_error(self, field: str | None, message: str) -> None:
        """Add a fault of one field, or with `None` of the request as a whole."""
        self._errors.append(FieldError((field,) if field else (), message))

    def add_errors(self, invalid: ValidationError) -> None:
        """Add the faults of another validation."""
        self._errors += invalid.errors

    def check(self) -> None:
        """Raise `ValidationError` with all faults found so far, and with unknown fields that must be mistakes."""
        known = self._required | self._optional.keys()
        if not self._fields.keys() <= known:
            for field in self._null_if_absent:
                self._add_missing(field, "Required beside an unknown field; it may be null")
            unknown = (name for name in self._fields if name not in known)
            self._errors += misspelt_fields(unknown, self._optional, self._missing)
        if self._errors:
            raise ValidationError(self._errors)

    def require_any(self, *fields: str) -> None:
        """Add a fault where all of these are absent."""
        if not any(map(self.has, fields)):
            self._missing += fields
            self.add_error(None, f"At least one of {', '.join(fields)} is required")

    def _add_missing(self, field: str, message: str = "Required") -> None:
        self._missing.append(field)
        self.add_error(field, message)

    def _validated_text(
        self,
        field: str,
        faults: Callable[[str], ErrorMessages],
        required: bool = True,
        normalize: Callable[[str], str] = lambda text: text,
    ) -> str:
        """The field's normalized text, or "" where it is absent or invalid."""
        if required:
            self._required.add(field)
        value = self.value(field)
        if value is None:
            if required:
                self._add_missing(field)
            return ""
        if not isinstance(value, str):
            self.add_error(field, "Must be a string")
            return ""
        value = normalize(value)
        found = faults(value)
        for message in found:
            self.add_error(field, message)
        return "" if found else value


def paging(form: FieldValidator) -> tuple[int, int]:
    """(page, limit) of a list, defaults 1 and 20."""
    return form.integer("page", 1, MAX_PAGE), form.integer("limit", 20, MAX_LIMIT)


def _email_errors(text: str) -> ErrorMessages:
    if len(text) > MAX_LENGTH:
        return [f"Must have at most {MAX_LENGTH} characters"]
    if is_mailbox(text):
        return []
    unseen = [each for each in text if not each.isprintable() or is_invisible(each)]
    return [f"Invalid email address{f': it has {_list_characters(unseen)}' if unseen else ''}"]


def _name_errors(text: str) -> ErrorMessages:
    faults = [] if 2 <= len(text) <= 100 else ["Must have 2 to 100 characters"]
    if len(text) > 100:
        return faults  # at once: to look at each character of a megabyte took a second
    wrong = [character for character in remove_joiners(text) if not _may_be_in_name(character)]
    if wrong:
        joiner = ", which may only join letters" if any(map(is_joiner, wrong)) else ""
        faults.append(
            "May hold letters, spaces, hyphens, apostrophes and middle dots only: "
            f"it has {_list_characters(wrong)}{joiner}"
        )
    elif not any(c.isalpha() for c in text):
        faults.append("Must have a letter")
    return faults


def _list_characters(characters: Sequence[str]) -> str:
    """Each of them once, the first few."""
    found = list(dict.fromkeys(characters))
    more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    return ", ".join(map(code_point, found[:MAX_LISTED])) + more


def _may_be_in_name(character: str) -> bool:
    """Letters of any script with their marks, and what stands between the parts of a name."""
    if character in _HANGUL_FILLERS:
        return False
    return (
        is_letter_or_mark(character)
        or unicodedata.category(character) in ("Zs", "Pd")
        or character in _DASHES
        or character in _APOSTROPHES
        or character in _MIDDLE_DOTS
    )


def _password_errors(text: str) -> ErrorMessages:
    if len(text) > MAX_CHECKED_PASSWORD:
        return [f"Must have at most {MAX_PASSWORD_BYTES} bytes in UTF-8"]  # at once, as for names
    # As people see them: an accent is no character of its own, also where there is no code point for the two.
    characters = split_graphemes(text)
    faults = [] if 8 <= len(characters) <= 128 else ["Must have 8 to 128 characters"]
    if len(text.encode()) > MAX_PASSWORD_BYTES:
        faults.append(f"Must have at most {MAX_PASSWORD_BYTES} bytes in UTF-8")
    if "\0" in text:
        faults.append("Must not hold a NUL character")
    first = [each[0] for each in characters]
    required: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("a lower-case letter", str.islower),
        ("an upper-case letter", str.isupper),
        ("a digit", str.isdigit),
        ("a character that is neither letter nor digit", lambda c: not c.isalnum()),
    )
    return faults + [f"Must have {kind}" for kind, is_of_kind in required if not any(map(is_of_kind, first))]


def _content_errors(text: str) -> ErrorMessages:
    faults = (
        [] if 1 <= len(text) <= MAX_MESSAGE_LENGTH else [f"Must have 1 to {MAX_MESSAGE_LENGTH} characters"]
    )
    return faults + (["Must not hold a NUL character"] if "\0" in text else [])


def _channel_errors(text: str) -> ErrorMessages:
    return _channel_name_errors(text, MAX_CHANNEL_LENGTH)


def _channel_filter_errors(text: str) -> ErrorMessages:
    return _channel_name_errors(text, MAX_KEPT_CHANNEL_LENGTH)


def _channel_name_errors(text: str, most: int) -> ErrorMessages:
    faults = [] if 1 <= len(text) <= most else [f"Must have 1 to {most} characters"]
    return faults + (["Must not hold a NUL character"] if "\0" in text else [])


def _topical_channel_errors(text: str) -> ErrorMessages:
    faults = _channel_errors(text)
    if faults:
        return faults  # at once: to escape a megabyte took 4 s
    size = len(channel_topic(text).encode())
    return (
        [f"Its topic would have {size} bytes of UTF-8, at most {MAX_TOPIC_BYTES}"]
        if size > MAX_TOPIC_BYTES
        else []
    )


def _credential_name_errors(text: str) -> ErrorMessages:
    if len(text) > MAX_CREDENTIAL_NAME_LENGTH or not is_word(text):
        return [
            f"Must be one word of a topic: 1 to {MAX_CREDENTIAL_NAME_LENGTH} characters, no dots, stars or white space"
        ]
    return []


def _key_errors(text: str) -> ErrorMessages:
    try:
        check_key(text)
    except ValidationError as invalid:
        return [error.message for error in invalid.errors]
    return []


def _uuid_errors(text: str) -> ErrorMessages:
    return [] if is_uuid(text.lower()) else ["Must be a UUID"]
