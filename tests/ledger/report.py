"""What the checker found, for a person and for an exit status."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from attrs import define, field

SKIPPED = 77  # exit status of a run, where the machine lacks what a fault needs
SHOWN = 5  # examples of each fault that are printed; all are counted


class Fault(Enum):
    """All that can be wrong, in words."""

    LOST = "acknowledged, but not in the log"
    TWICE = "in the log more than once"
    KEPT = "refused, but in the log"
    UNSENT = "in the log, but nobody sent it"
    WRONG_CURSOR = "acknowledged with a cursor that is not its own"
    AGAIN = "not acknowledged when it was repeated once"
    LATER = "sent after another was acknowledged, but logged before it"
    HOLE = "positions are not dense and increasing"
    LISTED = "a list and the log disagree"
    MISSING = "not delivered"
    SWAPPED = "delivered out of order"
    RENAMED = "delivered again under another cursor"
    PHANTOM = "delivered, but not in the log"
    ALTERED = "delivered otherwise than it is logged"
    TRESPASS = "delivered to one who may not read it"
    UNASKED = "delivered on a topic that it should not be heard on there"
    LATE = "delivered more than 1 s after the right was lost"
    UNSAID = "resumed without being told whether anything was missed"
    UNFOUNDED = "said to be recovered from a cursor that the log does not have"
    UNRECOVERED = "not recovered"
    DEAF = "never subscribed"
    UNTOLD = "went on in another history without being told"
    VANISHED = "delivered after it was taken away"
    GONE = "taken away, though the history that was gone back to has it"
    REUSED = "the cursor of what was taken away names something else"
    PRUNED = "pruned, though it should be kept"
    UNWELL = "not well again as promised"
    BROKEN = "client processes that failed"
    TOLD = "a secret in what the server logged"
    DAMAGED = "the database file is damaged"


@define(eq=False)
class Report:
    """Clean when `faults` is empty; `figures` say how much was compared."""

    faults: Counter[Fault] = field(factory=Counter)
    figures: Counter[str] = field(factory=Counter)
    _examples: list[tuple[Fault, str]] = field(factory=list)

    def found(self, fault: Fault, example: str) -> None:
        self.faults[fault] += 1
        if self.faults[fault] <= SHOWN:
            self._examples.append((fault, example))

    @property
    def clean(self) -> bool:
        return not self.faults

    @property
    def status(self) -> int:
        """For the process that ran the check."""
        return 0 if self.clean else 1

    def __str__(self) -> str:
        lines = [f"  {name:<28}{count:>10}" for name, count in sorted(self.figures.items())]
        for fault, count in self.faults.items():
            lines.append(f"FAULT {fault.value}: {count}")
            lines += [f"      {example}" for what, example in self._examples if what is fault]
        return "\n".join([*lines, "clean" if self.clean else "NOT CLEAN"])
