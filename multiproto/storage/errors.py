"""The error of a store that can't be opened."""

from __future__ import annotations


class StoreUnusable(Exception):
    """The store can't be used as it is; the text is one line for the operator: what, where, what to do."""
