"""Times as text: what `datetime` makes of them, and cheaper."""

from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.timestamps import format_timestamp, parse_timestamp


class TimestampTests(SynchronousTestCase):
    @given(st.floats(-62_135_596_800, 253_402_300_799) | st.integers(0, 2**32))
    @example(0.9999995)  # the second above, once it is rounded to a microsecond
    @example(0.9999994)
    @example(-0.0005)
    @example(253_402_300_799)
    def test_the_same_as_that_of_datetime(self, moment: float) -> None:
        text = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")
        self.assertEqual(format_timestamp(moment), text.replace("+00:00", "Z"))

    def test_beyond_all_years_is_an_error(self) -> None:
        for moment in (253_402_300_800, -62_135_596_801):
            self.assertRaises((ValueError, OverflowError), format_timestamp, moment)

    def test_there_and_back(self) -> None:
        for moment in (0.0, 1.5, 1_732_550_000.123):
            self.assertEqual(parse_timestamp(format_timestamp(moment)), moment)
