"""What is known of damage to the stored data: said once in the log, and in `/health` until a restart."""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger

from ..core.errors import DataDamaged


@define(eq=False, repr=False)
class DamageRecord:
    """Remembers the first evidence of damage: there is much more of it as soon as there is any, and it does not heal."""

    warning: str | None = field(default=None, init=False)  # a sentence for operators
    _log = Logger()

    def add(self, damage: DataDamaged) -> None:
        if self.warning is None:
            self.warning = (
                f"stored data is damaged: {damage.evidence}; what was read without an error may be damaged, too: "
                "see docs/operations.md#damaged-data"
            )
            self._log.critical("{damage}", damage=self.warning)
