"""A bounded map forgets what was used longest ago, by count and by weight."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.bounded_map import BoundedMap


class BoundedMapTests(SynchronousTestCase):
    def test_at_the_limit_and_past_it(self) -> None:
        map: BoundedMap[str, int] = BoundedMap(2)
        self.assertEqual([map.put("a", 1), map.put("b", 2), list(map)], [[], [], ["a", "b"]])
        self.assertEqual(map.put("c", 3), [("a", 1)])
        self.assertEqual((list(map), len(map), "a" in map), (["b", "c"], 2, False))

    def test_a_use_keeps_an_entry(self) -> None:
        map: BoundedMap[str, int] = BoundedMap(2)
        map.put("a", 1)
        map.put("b", 2)
        self.assertEqual((map.get("a"), map.get("x")), (1, None))
        self.assertEqual(map.put("c", 3), [("b", 2)])

    def test_weights(self) -> None:
        map: BoundedMap[str, int] = BoundedMap(10, max_weight=5)
        map.put("a", 1, 2)
        map.put("b", 2, 3)
        self.assertEqual(map.weight, 5)
        self.assertEqual(map.put("c", 3, 1), [("a", 1)])
        self.assertEqual(map.put("b", 4, 1), [])  # again, and lighter
        self.assertEqual((map.weight, map.get("b")), (2, 4))

    def test_what_is_too_heavy_is_not_kept(self) -> None:
        map: BoundedMap[str, int] = BoundedMap(10, max_weight=5)
        map.put("a", 1, 1)
        self.assertEqual(map.put("b", 2, 6), [("a", 1), ("b", 2)])
        self.assertEqual((len(map), map.weight), (0, 0))

    def test_what_is_removed_weighs_nothing(self) -> None:
        map: BoundedMap[str, int] = BoundedMap(10, max_weight=5)
        map.put("a", 1, 5)
        self.assertEqual((map.pop("a"), map.pop("a"), map.weight), (1, None, 0))
        map.put("b", 1, 5)
        map.clear()
        self.assertEqual((len(map), map.weight), (0, 0))
