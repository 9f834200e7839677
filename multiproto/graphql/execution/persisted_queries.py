"""Documents that clients name instead of sending them: by the SHA-256 of their text.

This is what Apollo's clients call automatic persisted queries.  A client sends
the hash alone; where we don't know it, it sends the document along once, and
from then on the hash does.  Only documents that were found good are kept.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from hashlib import sha256

from attrs import Factory, define, field

from .errors import RequestError, coded_error, request_error

MAX_CACHED_CHARACTERS = 131_072  # characters of all documents kept
NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"

_HASH = re.compile("[0-9a-f]{64}")


def parse_hash(extension: object) -> str | None:
    """The hash in `extensions.persistedQuery`; `None` if that is not one."""
    if not isinstance(extension, dict) or extension.get("version") != 1:
        return None
    name = extension.get("sha256Hash")
    return name if isinstance(name, str) and _HASH.fullmatch(name) else None


@define(eq=False, repr=False)
class PersistedQueries:
    _documents: OrderedDict[str, str] = Factory(OrderedDict)  # by hash, the longest unused first
    _size: int = field(default=0, init=False)  # characters of them

    def resolve(self, query: str, name: str | None) -> str:
        """What to execute, where a request has `query`, which may be empty, and a hash.  Raises `RequestError`."""
        if name is None:
            return query
        if not query:
            return self._lookup(name)
        if sha256(query.encode("utf-8", "surrogatepass")).hexdigest() != name:
            raise request_error([coded_error("BAD_REQUEST", "The hash is of another document")])
        return query

    def store(self, name: str | None, text: str) -> None:
        """`resolve` was found good."""
        if name is None:
            return
        if name not in self._documents:
            self._documents[name] = text
            self._size += len(text)
        self._documents.move_to_end(name)
        while self._size > MAX_CACHED_CHARACTERS and len(self._documents) > 1:
            _, forgotten = self._documents.popitem(last=False)
            self._size -= len(forgotten)

    def _lookup(self, name: str) -> str:
        try:
            return self._documents[name]
        except KeyError:
            pass
        error = {"message": "PersistedQueryNotFound", "extensions": {"code": NOT_FOUND, "status": 404}}
        raise RequestError([error])
