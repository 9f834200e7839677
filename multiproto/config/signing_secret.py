"""The secret that signs tokens when none was configured (docs/configuration.md#the-signing-secret)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .load import MIN_SECRET_LENGTH
from .settings import Config


def signing_secret(config: Config) -> str:
    """The configured secret, or the one kept in the locked data directory; "" where a key signs instead.

    Raises as `load_or_create_secret` does.
    """
    if config.auth.jwt_secret or config.auth.private_key_file:
        return config.auth.jwt_secret
    return load_or_create_secret(Path(config.storage.directory) / "jwt-secret")


def load_or_create_secret(path: Path) -> str:
    """The secret in the file `path`, which is created at first use, for its owner only.

    The data directory must be locked by this process.  Raises `OSError` or, for a
    file without a valid secret, `ValueError`.
    """
    if not path.exists():
        _write_atomically(path, secrets.token_urlsafe(48))
    secret = path.read_text("utf-8").strip()
    if len(secret) < MIN_SECRET_LENGTH:
        raise ValueError(
            f"{path} holds no secret of {MIN_SECRET_LENGTH} characters; without it a new one is made"
        )
    return secret


def _write_atomically(path: Path, text: str) -> None:
    """Write the whole file or nothing, even if the machine fails: half a secret would sign tokens for ever."""
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
