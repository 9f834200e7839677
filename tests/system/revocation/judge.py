"""What connections were given after the rights that they live on had ended, and whether that is as promised.

docs/guarantees.md#g7-authority-is-current

All times are of one clock, the driver's, which stamps each publication and each
command when it is sent.  So a machine that stands still for a while makes
nobody guilty, however late or early the driver came to see what was given.

Two things are promised.  By order: once the instance has said that it has read
the log up to the ending (or that it can't read the log), nothing that is sent
afterwards is delivered or obeyed.  By the clock: nothing that is sent more than
a second after the ending was answered is.  A busy machine may keep an instance
from reading for longer than that, so only an idle one can show the second.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Iterable, Iterator

from attrs import define

PROMISED = 1.0  # seconds from the answer
CONNECTIONS = ("websocket", "tcp", "graphql-socket", "rest-stream", "graphql-stream")
PROTOCOLS = (*CONNECTIONS, "rest")
LISTENS = frozenset(CONNECTIONS)
COMMANDS = frozenset(["websocket", "tcp", "graphql-socket", "rest"])


@define
class Record:
    """One connection (or, of REST, all requests) of somebody whose rights ended."""

    protocol: str
    ending: str
    answered: float = 0.0  # when the driver read that the ending is done
    known: float = 0.0  # when the driver read that the instance knows of it, or knows that it can't know
    heard: float = 0.0  # when the last publication that was delivered had been sent; 0: none was
    obeyed: float = 0.0  # when the last command that was obeyed had been sent
    noticed: float = 0.0  # when the driver saw the last of either
    closed: float | None = None  # when it saw the end: the connection's, or of REST the first refusal

    @property
    def lag(self) -> float:
        """Seconds for which it was surely still given something, after the answer."""
        return max(self.heard, self.obeyed, self.answered) - self.answered

    @property
    def seen(self) -> float:
        """The same as the driver saw it: the driver's own delays, and those of the network, included."""
        return max(self.noticed, self.answered) - self.answered

    @property
    def ended(self) -> float:
        return max((self.closed or self.answered) - self.answered, 0.0)

    @property
    def was_given_after_it_was_known(self) -> bool:
        return max(self.heard, self.obeyed) > self.known

    def faults(self, by_the_clock: bool) -> Iterator[str]:
        who = f"{self.protocol}, {self.ending}"
        if self.was_given_after_it_was_known:
            yield f"{who}: given what was sent after the instance knew of the ending"
        if by_the_clock and self.lag > PROMISED:
            yield f"{who}: given something {self.lag:.3f} s after the answer"
        if self.closed is None:
            yield f"{who}: never ended"
        if self.protocol in LISTENS and not self.heard or self.protocol in COMMANDS and not self.obeyed:
            yield f"{who}: was given nothing before, so its silence proves nothing"


def faults(records: Iterable[Record], by_the_clock: bool = False) -> list[str]:
    return [fault for record in records for fault in record.faults(by_the_clock)]


def table(records: Iterable[Record]) -> str:
    """For people: a line each protocol, a line each kind of ending, in milliseconds."""
    groups: dict[str, list[Record]] = defaultdict(list)
    found = list(records)
    for record in found:
        groups[record.protocol].append(record)
    for record in found:
        groups[record.ending].append(record)
    lines = ["                      revocations   given until (ms)        seen until      ended (ms)"]
    lines += ["                                    median  slowest          slowest   median  slowest"]
    for name, group in groups.items():
        given, ended = [each.lag * 1000 for each in group], [each.ended * 1000 for each in group]
        seen = max(each.seen * 1000 for each in group)
        lines.append(
            f"{name:<22}{len(group):>11}{median(given):>12.0f}{max(given):>9.0f}"
            f"{seen:>17.0f}{median(ended):>9.0f}{max(ended):>9.0f}"
        )
    return "\n".join(lines)
