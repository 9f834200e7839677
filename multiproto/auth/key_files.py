"""Loads the keys of tokens from files when the server starts, and again on reload."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Callable, Mapping, TypeVar

from attrs import define
from twisted.application.service import Service
from twisted.logger import Logger

from .keys import BadKey, KeyRing, load_signing_key, load_verification_keys

PRIVATE_KEY_SETTING, PUBLIC_KEYS_SETTING, SECRET_SETTING = (
    "JWT_PRIVATE_KEY_FILE",
    "JWT_PUBLIC_KEY_FILES",
    "JWT_SECRET",
)
MAX_FILE_BYTES = 65_536  # bytes; a public key has some 200

T = TypeVar("T")


class BadKeyFile(Exception):
    """Keys can't be used; `problems` has a line for each: the setting, the file, and what is wrong with it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@define(eq=False, repr=False)
class KeyFiles(Service):
    """Gives the present `KeyRing`.  The files are first read with privileges, so only root need be able to read them."""

    # Called once, at the start, when the data directory is locked; gives "" for none.
    _find_secret: Callable[[], str]
    _private_file: str  # the file of the key that signs; "" where the secret does
    _public_files: tuple[str, ...]  # files of more keys that verify
    _secret: str = ""
    _keyring: KeyRing | None = None

    _log = Logger()

    def privilegedStartService(self) -> None:
        """Raises `BadKeyFile`."""
        super().privilegedStartService()
        self._secret = self._find_secret()
        self._install(self._read_keys())

    def __call__(self) -> KeyRing:
        assert self._keyring is not None, "no keys before the start"
        return self._keyring

    def public_jwks(self) -> list[Mapping[str, str]]:
        """The public keys, as JWKs."""
        return self().public_jwks

    def reload(self) -> bool:
        """Read the files again; whether that succeeded.  If not, all keys stay as they are."""
        try:
            self._install(self._read_keys())
        except BadKeyFile as bad:
            self._log.error("the keys of tokens stay as they were: {why}", why=str(bad))
            return False
        return True

    def _install(self, ring: KeyRing) -> None:
        self._keyring = ring
        self._log.info(
            "tokens are signed with {algorithm} {kid}; taken: {taken}",
            algorithm=ring.signing_key.verification_key.algorithm,
            kid=ring.signing_key.verification_key.id or "by the secret",
            taken=", ".join([*ring.keys_by_id, *(["the secret's"] if ring.secret_key else [])]),
        )

    def _read_keys(self) -> KeyRing:
        """Raises `BadKeyFile` with all that is wrong."""
        problems: list[str] = []
        own, others = None, []
        if self._private_file:
            own = self._load(PRIVATE_KEY_SETTING, self._private_file, load_signing_key, problems)
        for file in self._public_files:
            others += self._load(PUBLIC_KEYS_SETTING, file, load_verification_keys, problems) or []
        if self._secret or not problems:  # else the key that signs may be the one that can't be read
            try:
                ring = KeyRing.build(self._secret, own, others)
            except BadKey as bad:
                problems.append(f"{SECRET_SETTING} {bad}")
        if problems:
            raise BadKeyFile(*dict.fromkeys(problems))
        return ring

    def _load(self, setting: str, file: str, parse: Callable[[bytes], T], problems: list[str]) -> T | None:
        """What `parse` makes of the file; `None` where it can't be used, and `problems` says why."""
        try:
            return parse(self._read_file(setting, file))
        except OSError as error:
            problems.append(f"{setting} ({file}) can't be read: {error.strerror}")
        except BadKey as bad:
            problems += [f"{setting} ({file}) {problem}" for problem in bad.problems]
        return None

    def _read_file(self, setting: str, file: str) -> bytes:
        """The file's content: some hundred bytes, and read seldom, so a blocking read is no harm."""
        with Path(file).open("rb") as opened:
            if setting == PRIVATE_KEY_SETTING and os.fstat(opened.fileno()).st_mode & stat.S_IROTH:
                self._log.warn(
                    "{setting} ({file}) can be read by everybody on this machine: chmod 600",
                    setting=setting,
                    file=file,
                )
            content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise BadKey(f"is larger than {MAX_FILE_BYTES} bytes")
        return content
