"""Persisted queries: documents that clients name by the SHA-256 of their text, instead of sending them.

This is what Apollo's clients call automatic persisted queries.  A client sends
the hash alone; if it is unknown, it sends the document along once, and from then
on the hash is enough.  Only documents that were validated are cached.
"""

from __future__ import annotations

import re
from hashlib import sha256

from attrs import define, field

from ...base.bounded_map import BoundedMap
from .errors import RequestError, coded_error, request_error

MAX_CACHED_DOCUMENTS = 4096
MAX_CACHED_CHARACTERS = 131_072  # characters of all cached documents
NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"

_HASH = re.compile("[0-9a-f]{64}")


def parse_hash(extension: object) -> str | None:
    """The hash in `extensions.persistedQuery`; `None` if that is not one."""
    if not isinstance(extension, dict) or extension.get("version") != 1:
        return None
    hash = extension.get("sha256Hash")
    return hash if isinstance(hash, str) and _HASH.fullmatch(hash) else None


@define(eq=False, repr=False)
class PersistedQueries:
    _documents: BoundedMap[str, str] = field(init=False)  # by hash

    def __attrs_post_init__(self) -> None:
        self._documents = BoundedMap(MAX_CACHED_DOCUMENTS, MAX_CACHED_CHARACTERS)

    def resolve(self, query: str, hash: str | None) -> str:
        """The document of a request with `query`, which may be empty, and a hash.  Raises `RequestError`."""
        if hash is None:
            return query
        if not query:
            return self._lookup(hash)
        if sha256(query.encode("utf-8", "surrogatepass")).hexdigest() != hash:
            raise request_error([coded_error("BAD_REQUEST", "The hash is of another document")])
        return query

    def store(self, hash: str | None, text: str) -> None:
        """Cache a document that `resolve` gave and that was validated since."""
        if hash is not None:
            self._documents.put(hash, text, len(text))

    def _lookup(self, hash: str) -> str:
        text = self._documents.get(hash)
        if text is None:
            error = {"message": "PersistedQueryNotFound", "extensions": {"code": NOT_FOUND, "status": 404}}
            raise RequestError([error])
        return text
