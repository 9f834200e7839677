"""The tests of the package; they are patient however they are started (see `tests/timing.py`)."""

from .timing import be_patient

be_patient()
