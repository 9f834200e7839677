"""Formats the errors of an operation as the contract has them.

`extensions.code` is a name of docs/common.md#error-codes or docs/graphql.md#errors,
`extensions.status` the HTTP status that goes with it.  A bug of ours is logged with its traceback
and reported without detail.

graphql-core quotes the value that it rejects.  That may be a password, and
clients log errors: our messages name what is wrong, and repeat no value.
"""

from __future__ import annotations

import re
from typing import Any, Sequence

from graphql import GraphQLError
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...core.errors import InternalError, Refusal

FormattedError = dict[str, Any]  # JSON-ready

_log = Logger()

# How graphql-core 3.3 quotes a value, in the messages of its scalars and enums, its validation, lexer and parser.
# A name in a syntax error may be a value that lacks its quotes.
_QUOTED_VALUE = re.compile(
    r"""(?P<rest>\ cannot\ represent\ [^:]{0,100}|\bInvalid\ (?:Unicode|character)\ escape\ sequence):\ .*
    | (?P<input>[.,;?])\ [Ff]ound:\ .*
    | (?P<token>\b(?:Name|String|BlockString|Int|Float))\ '.*'
    | (?P<operation>\bUnknown\ operation)\ named\ '.*'
    | (?P<enum>\bValue)\ '.*'(?=\ does\ not\ exist\ in\ )""",
    re.VERBOSE | re.DOTALL,
)


class RequestError(Exception):
    """The operation is not executed; `errors` say why, JSON-ready."""

    def __init__(self, errors: Sequence[FormattedError]) -> None:
        super().__init__(errors)
        self.errors = errors


def coded_error(code: str, message: str) -> GraphQLError:
    """An error in the request itself, with a `code` of docs/graphql.md#errors."""
    return GraphQLError(message, extensions={"code": code})


def request_error(errors: Sequence[GraphQLError], code: str = "BAD_REQUEST") -> RequestError:
    """The error for a request that was refused before any resolver ran, so none of `errors` is a bug of ours."""
    return RequestError([_format_request_error(error, code) for error in errors])


def format_error(error: GraphQLError) -> FormattedError:
    """The error that a field raised, as it is sent to the client; it has no traceback any more."""
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        cause.__traceback__ = None  # its frames hold the executor, which holds it: garbage in a circle
        cause = cause.original_error
    if cause is None:
        return _format_request_error(error, "BAD_REQUEST")
    refusal = cause if isinstance(cause, Refusal) else _log_internal_error(cause)
    cause.__traceback__ = None
    return format_refusal(refusal) | _location(error)


def _format_request_error(error: GraphQLError, code: str) -> FormattedError:
    extensions = {"code": code, "status": 400, **(error.extensions or {})}
    # A message of Python's own would be about Python, as when a number has too many digits.
    is_ours = error.original_error is None or isinstance(error.original_error, GraphQLError)
    message = redact_values(error.message) if is_ours else "This literal does not fit its type"
    return {"message": message, "extensions": extensions} | _location(error)


def redact_values(message: str) -> str:
    """A message of graphql-core, without the value that it quotes, and in the words of JSON."""

    def without_value(found: re.Match[str]) -> str:
        if found["input"] is not None:
            return "?" if found["input"] == "?" else "."
        return found[found.lastgroup or 0]

    redacted = _QUOTED_VALUE.sub(without_value, message).replace(" not to be None.", " not to be null.")
    return re.sub(r"(?<=cannot represent) value$", " this value", redacted)


def _location(error: GraphQLError) -> FormattedError:
    found: FormattedError = {}
    if error.locations:
        found["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path:
        found["path"] = error.path
    return found


def format_refusal(refusal: Refusal) -> FormattedError:
    extensions: FormattedError = {
        "code": refusal.name,
        "status": refusal.status,
        **refusal.retry_after_fields,
    }
    if refusal.details is not None:
        extensions["details"] = refusal.details
    return {"message": refusal.message, "extensions": extensions}


def _log_internal_error(cause: BaseException) -> Refusal:
    _log.failure("a resolver broke", failure=Failure(cause))
    return InternalError()
