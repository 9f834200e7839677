"""Where the keys of tokens come from when the server starts, and again when it is told that the files changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Callable, Iterator, Mapping, TypeVar

from attrs import define
from twisted.application.service import Service
from twisted.logger import Logger

from .keys import BadKey, Key, Ring, signer, verifiers

PRIVATE, PUBLIC, SECRET = "JWT_PRIVATE_KEY_FILE", "JWT_PUBLIC_KEY_FILES", "JWT_SECRET"
MAX_FILE = 65_536  # bytes; a public key has some 200

T = TypeVar("T")


class BadKeyFile(Exception):
    """One line for the operator: the setting, the file, and what is wrong with it."""


@define(eq=False, repr=False)
class KeyFiles(Service):
    """The `Ring` of now.  Read with privileges, so that a key may be root's own."""

    _find_secret: Callable[[], str]  # asked once, at the start, when the data directory is ours; "" for none
    _private: str  # the file of the key that signs; "" where the secret does
    _public: tuple[str, ...]  # files of keys that verify besides
    _secret: str = ""
    _ring: Ring | None = None

    _log = Logger()

    def privilegedStartService(self) -> None:
        """Raises `BadKeyFile`."""
        super().privilegedStartService()
        self._secret = self._find_secret()
        self._take(self._read())

    def __call__(self) -> Ring:
        assert self._ring is not None, "no keys before the start"
        return self._ring

    def published(self) -> list[Mapping[str, str]]:
        """The public keys, as JWKs."""
        return self().published

    def reload(self) -> bool:
        """Read the files again; whether that went well.  If not, all keys stay as they are."""
        try:
            self._take(self._read())
        except BadKeyFile as bad:
            self._log.error("the keys of tokens stay as they were: {why}", why=str(bad))
            return False
        return True

    def _take(self, ring: Ring) -> None:
        self._ring = ring
        self._log.info(
            "tokens are signed with {algorithm} {kid}; taken: {taken}",
            algorithm=ring.signer.key.algorithm,
            kid=ring.signer.key.id or "by the secret",
            taken=", ".join([*ring.keys, *(["the secret's"] if ring.secret else [])]),
        )

    def _read(self) -> Ring:
        own = self._parsed(PRIVATE, self._private, signer) if self._private else None
        others = tuple(self._others())
        try:
            return Ring.of(self._secret, own, others)
        except BadKey as bad:
            raise BadKeyFile(f"{SECRET} {bad}") from None

    def _others(self) -> Iterator[Key]:
        for file in self._public:
            yield from self._parsed(PUBLIC, file, verifiers)

    def _parsed(self, setting: str, file: str, parse: Callable[[bytes], T]) -> T:
        try:
            return parse(self._content(setting, file))
        except OSError as error:
            raise BadKeyFile(f"{setting} ({file}) can't be read: {error.strerror}") from None
        except BadKey as bad:
            raise BadKeyFile(f"{setting} ({file}) {bad}") from None

    def _content(self, setting: str, file: str) -> bytes:
        """What is in the file: some hundred bytes, and read seldom, so on the reactor's own time."""
        with Path(file).open("rb") as opened:
            if setting == PRIVATE and os.fstat(opened.fileno()).st_mode & stat.S_IROTH:
                self._log.warn(
                    "{setting} ({file}) can be read by everybody on this machine: chmod 600",
                    setting=setting,
                    file=file,
                )
            content = opened.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise BadKey(f"is larger than {MAX_FILE} bytes")
        return content
