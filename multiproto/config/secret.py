"""The secret that signs tokens when none was configured (contract, section 1)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from attrs import define
from twisted.application.service import Service

from .load import SECRET_LENGTH


@define(eq=False, repr=False)
class Secret(Service):
    """As configured, or as kept in the file `path` once the data directory is ours."""

    _configured: str
    _path: Path
    _value: str = ""

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self._value = self._configured or kept_secret(self._path)

    def __call__(self) -> str:
        return self._value


def kept_secret(path: Path) -> str:
    """The secret kept in the file `path`; made at first use, for its owner only.

    The data directory must be locked by us.  Raises `OSError` or, for a file that
    holds something else, `ValueError`.
    """
    if not path.exists():
        _write_whole(path, secrets.token_urlsafe(48))
    secret = path.read_text("utf-8").strip()
    if len(secret) < SECRET_LENGTH:
        raise ValueError(
            f"{path} holds no secret of {SECRET_LENGTH} characters; without it a new one is made"
        )
    return secret


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing, whenever the machine may fail: half a secret would sign tokens for ever."""
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
