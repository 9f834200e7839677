"""What commands say in the same words: of an account that is not there, a store that can't be used, a setting that is ignored."""

from __future__ import annotations

import sys

from ..config import LoadedConfig
from ..core.validation import is_uuid
from ..storage.errors import DataDirectoryInUse, StoreUnusable


def describe_unknown_user(user: str) -> str:
    """Why no account is meant by what was given as its address or id."""
    if "@" in user:
        return f"no account has the address {user}"
    if is_uuid(user.lower()):
        return f"no account has the id {user}"
    return f"{user!r} is neither the mailbox address of an account nor its id, a UUID"


def describe_unusable_store(error: StoreUnusable) -> str:
    """What is wrong, and what to do about it for one who gives a command, not for one who starts a server."""
    return f"{error.what}: stop that first" if isinstance(error, DataDirectoryInUse) else str(error)


def print_warnings(loaded: LoadedConfig) -> None:
    """On the standard error: what was ignored of the settings, and may have been meant otherwise."""
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
