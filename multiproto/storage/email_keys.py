"""Gives stored addresses the keys by which they are compared now, where an earlier version computed others.

It is what SQL can't do of the migration that is named here.  Where several accounts
have one address now, the oldest gets it in any spelling, and each other one keeps its
own, as those of the predecessor do.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from ..core.kept_accounts import shared_email_key
from ..core.mailbox import email_key
from ..core.transactions import Row

MIGRATION = "email_keys"  # behind its number, in the name of its file

# Executes the statement of this name with these parameters, in the transaction of the migration.
Execute = Callable[[str, Mapping[str, object]], Sequence[Row]]


def update_email_keys(execute: Execute) -> None:
    """Those of all accounts and of the addresses of OPERATORS; what is in ASCII has the key that it had."""
    for user in execute("users_not_ascii", {}):
        _update_account(execute, user)
    for row in execute("operator_addresses_not_ascii", {}):
        old, new = row["email_key"], email_key(row["email_key"])
        if new != old:
            taken = execute("operator_addresses_of", {"email_keys": [new]})
            step = "operator_address_drop" if taken else "operator_address_amend"
            execute(step, {"email_key": old} if taken else {"email_key": old, "new_key": new})


def _update_account(execute: Execute, user: Row) -> None:
    key, shared_key = email_key(user["email"]), shared_email_key(user["email"].strip())
    if user["email_key"] == key:
        return
    if user["email_key"].endswith(f" {user['email'].strip()}"):
        key = shared_key  # it was one of several before
    for owner in execute("email_key_owner", {"email_key": key}):
        if owner["position"] > user["position"]:  # it was not found before this one, as it has another key
            execute(
                "email_key_amend", {"id": owner["id"], "email_key": shared_email_key(owner["email"].strip())}
            )
        elif owner["id"] != user["id"]:
            key = shared_key
    if user["email_key"] != key:
        execute("email_key_amend", {"id": user["id"], "email_key": key})
