"""Texts of publications as clients may send them: nearly right ones above all, for what must be read alike."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_NUMBERS = st.sampled_from(
    ["1", "-0", "1.0", "1e2", "1e999", "-1e999", "01", "NaN", "123456789012345678901", "0.1"]
)
_VALUES = st.recursive(
    st.sampled_from(
        ["null", "true", '"a.b"', '"a:b"', '""', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"c"']
    )
    | _NUMBERS
    | _TEXT.map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: f"[{','.join(found)}]")
        | st.lists(st.tuples(st.sampled_from(['"k"', '"l"', '"k\\u0000"']), inner), max_size=3).map(
            lambda found: "{%s}" % ",".join(f"{key}:{value}" for key, value in found)
        )
    ),
    max_leaves=4,
)


def messages(content: str, **fixed: str) -> st.SearchStrategy[bytes]:
    """JSON objects with the fields of a publication, whose data is called `content`; some of them twice, some wrong."""
    names = st.sampled_from(["topic", content, "id", "key", "metadata", "type", "other", "topi\\u0063"])
    likely = st.fixed_dictionaries(
        {"topic": st.sampled_from(['"a.b"', '"a.b"', '"a..b"', "1"])},
        optional={content: _VALUES, "id": _VALUES, "key": _VALUES, "metadata": _VALUES},
    ).map(lambda fields: list(fields.items()))
    fields = st.builds(
        lambda some, more: [*fixed.items(), *some, *more],
        likely,
        st.lists(st.tuples(names, _VALUES), max_size=2) | st.just([]),
    )
    texts = fields.map(
        lambda found: ("{%s}" % ", ".join(f'"{name}": {value}' for name, value in found)).encode()
    )
    broken = st.builds(
        lambda text, at, byte: text[: at % len(text)] + byte + text[at % len(text) :],
        texts,
        st.integers(0),
        st.binary(max_size=1),
    )
    return texts | broken


def ODD(content: str, **fixed: Any) -> list[bytes]:
    """At each limit and past it."""

    def text(**fields: Any) -> bytes:
        return json.dumps({**fixed, "topic": "a", **fields}).encode()

    def nested(depth: int) -> bytes:
        return text(**{content: 0}).replace(b"0}", b"[" * depth + b"]" * depth + b"}")

    return [
        *(nested(depth) for depth in (62, 63, 64, 65, 2000)),
        *(text(id="x" * size) for size in (255, 256)),
        *(text(id=id) for id in (True, 1, 1.0, 1.5, 2**70, None, [], {})),
        *(text(metadata=metadata) for metadata in ({}, {"a": {"b": 1}}, [], 1, None)),
        *(text(key=key) for key in ("k", "", 1, None)),
        text(**{content: "x" * 100_001}),
        text(**{content: [[]] * 60_000}),
        text(**{content: "a:b"}),
        text(**{content: {"a": 1}})[:-1] + b', "topic": "a"}',
        text(**{content: {"a": 1}})[:-1] + b', "topic": "b"}',
        text(**{content: 0}).replace(b"0}", b'{"a": 1, "a": 2}}'),
        text(**{content: 0}).replace(b"0}", b'{"a": 1, "a": 1}}'),
        text(other=1),
        *(text(**{content: [2**exponent]}) for exponent in (1023, 1024)),
        b"[]",
        b"{}",
        b"",
        b"\xff",
    ]
