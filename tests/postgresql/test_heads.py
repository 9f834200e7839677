"""Where a history parts from the one that is known, as far as that can be told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.transactions import Row
from multiproto.storage.postgresql import heads
from multiproto.storage.postgresql.heads import Head, KnownHeads, Parting


def term(id: str, first_position: int, copy: str = "1", parted: bool = False) -> Row:
    return {"id": id, "first_position": first_position, "copy": copy, "parted": parted}


class PartingTests(SynchronousTestCase):
    """Heads 1 to 5 were seen, at the positions 10 to 50, in the terms a and b, which began behind 0 and 30."""

    def setUp(self) -> None:
        self.known = KnownHeads()
        for number in range(1, 6):
            self.known.observe(Head(number, number * 10, f"m{number}"))
        self.terms = [term("a", 1), term("b", 31)]

    def parted(self, *more: Row, there: int, head: Head | None = None) -> Parting:
        """With the first `there` heads in the other history, and others behind them."""
        rows = [
            {"number": number, "mark": f"m{number}" if number <= there else "x"} for number in range(1, 6)
        ]
        common = self.known.newest_common(rows)
        return self.known.parted_at(
            head or Head(6, 60, "x"), [*self.terms[: 1 + (there > 3)], *more], {"a", "b"}, common
        )

    def test_at_the_newest_head_that_both_have(self) -> None:
        self.assertEqual(self.parted(there=2), Parting(20, has_term=False))
        self.assertEqual(self.parted(there=4), Parting(40, has_term=False))

    def test_where_this_copy_of_the_log_was_entered(self) -> None:
        """By whoever came first; between two heads that were seen, which is more than those tell."""
        self.assertEqual(self.parted(term("c", 26, copy="2"), there=2), Parting(25, has_term=True))

    def test_where_another_instance_saw_them_part(self) -> None:
        for first in (16, 26):  # it had seen less, or more
            begun = term("c", first, parted=True)
            self.assertEqual(self.parted(begun, there=2), Parting(first - 1, has_term=True))

    def test_a_term_that_began_later_there_does_not_do(self) -> None:
        for later in (term("c", 36), term("c", 36, copy="2"), term("c", 26)):
            self.assertEqual(self.parted(later, there=2), Parting(20, has_term=False), later)

    def test_without_a_common_head_where_the_newest_common_term_began(self) -> None:
        self.assertEqual(self.parted(there=0), Parting(0, has_term=False))
        self.terms[0] = term("a", 6)
        self.assertEqual(self.parted(there=0), Parting(5, has_term=False))

    def test_heads_that_were_pruned_say_nothing(self) -> None:
        self.patch(heads, "HEADS_KEPT", 100)
        now = Head(105, 700, "x")
        self.assertEqual(self.parted(there=0, head=now), Parting(50, has_term=True))
        self.assertEqual(self.parted(term("c", 41, copy="2"), there=0, head=now), Parting(40, has_term=True))
        self.assertEqual(self.parted(there=0, head=Head(104, 700, "x")), Parting(0, has_term=False))

    def test_so_many_are_remembered(self) -> None:
        for number in range(6, heads.MAX_REMEMBERED + 2):
            self.known.observe(Head(number, number, "m"))
        self.assertEqual((self.known.numbers[0], len(self.known.numbers)), (2, heads.MAX_REMEMBERED))
