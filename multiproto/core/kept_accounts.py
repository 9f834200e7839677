"""What accounts of the predecessor may have that none can get here, and keep (docs/from-the-predecessor.md).

Hashes of passwords that bcrypt has cut, and addresses that several accounts share.
"""

from __future__ import annotations

import re
from typing import Mapping

from .mailbox import email_key

# Before a hash whose password may have been longer than bcrypt's 72 bytes, of which the first ones count.
TRUNCATED_HASH = "bcrypt-72:"

_BCRYPT_HASH = re.compile(r"\$2[abxy]?\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")


def is_bcrypt_hash(text: str) -> bool:
    return _BCRYPT_HASH.fullmatch(text) is not None


def shared_email_key(email: str) -> str:
    """The key of an account whose address is, but for its spelling, that of an older account.

    It begins with the key of the older one, and a space.
    """
    return f"{email_key(email)} {email}"


def email_lookup(email: str) -> Mapping[str, object]:
    """The parameters of the statement `user_by_email` for an address as somebody wrote it.

    A text that is itself the key of an account that shares its address finds nobody: the limit of failed logins is that
    of the address, and the account would have another one.
    """
    key, shared_key = email_key(email), shared_email_key(email)
    return {"email_key": shared_key if _is_shared_key(key) else key, "shared_key": shared_key}


def _is_shared_key(key: str) -> bool:
    """Whether it is an address twice: what comes from `email_key` has one spelling, so both halves have the same."""
    half = len(key) // 2
    return key[half : half + 1] == " " and key[:half] == key[half + 1 :]
