"""Somebody whose every request and connection goes to another instance than the one before."""

from __future__ import annotations

from attrs import define

from .clients import Address


@define(eq=False)
class Roaming:
    """Several addresses in turn."""

    _addresses: list[Address]
    _turn: int = 0

    def next(self) -> Address:
        self._turn += 1
        return self._addresses[self._turn % len(self._addresses)]
