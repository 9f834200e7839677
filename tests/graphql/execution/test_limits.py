"""Limits are pure: documents and variables in, a `GraphQLError` or nothing out."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, parse
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.graphql.execution.limits import QueryLimits, check_complexity, check_document

LIMITS = QueryLimits()
NAMES = ("a", "edges", "node", "messages", "__schema")


def fault_of(text: str, limits: QueryLimits = LIMITS, **variables: object) -> tuple[Any, str] | None:
    """Code and text of the error for a document whose first definition is the operation."""
    document = parse(text)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    try:
        check_document(document, limits)
        check_complexity(document, operation, variables, limits)
    except GraphQLError as error:
        assert error.extensions is not None
        return error.extensions["code"], error.message
    return None


def size_of(text: str, **variables: object) -> int:
    """The complexity of a document, as the error has it."""
    fault = fault_of(text, QueryLimits(complexity=-1), **variables)
    assert fault is not None
    return int(fault[1].split()[4])


def depth_of(text: str) -> int:
    fault = fault_of(text, QueryLimits(depth=-1))
    assert fault is not None
    return int(fault[1].split()[3])


class DepthTests(SynchronousTestCase):
    """The predecessor's fault: the depth limit limited nothing (docs/predecessor-faults.md#fault-25)."""

    def test_counts_fields_that_give_objects(self) -> None:
        for text, depth in (
            ("{ me }", 0),
            ("{ me { id } }", 1),
            ("{ a { b { c } } x { y } }", 2),
            ("{ messages { pageInfo { page } } }", 2),
            ("{ messages { edges { cursor } } }", 2),
            ("{ messages { edges { node { id } } } }", 2),
            ("{ messages { edges { node { user { id } } } } }", 3),
            ("{ users { edges { node { messages { edges { node { user { id } } } } } } } }", 5),
            ("{ a { node { b } } }", 2),
            ("{ ... { ... on Query { a { b } } } }", 1),
            ("{ a { ...F } } fragment F on A { b { c } }", 2),
            ("{ m { edges { ...E } } } fragment E on E { node { u { id } } }", 3),
        ):
            self.assertEqual(depth_of(text), depth, text)

    def test_introspection_is_exempt(self) -> None:
        self.assertEqual(depth_of("{ __schema { types { fields { type { ofType { name } } } } } }"), 0)

    def test_five_pass_and_six_do_not(self) -> None:
        self.assertIsNone(fault_of("{ a { a { a { a { a { b } } } } } }"))
        self.assertEqual(
            fault_of("{ a { a { a { a { a { a { b } } } } } } }"),
            ("QUERY_DEPTH_LIMIT_EXCEEDED", "The query is 6 levels deep, at most 5 are allowed"),
        )

    def test_every_operation_of_a_document_counts(self) -> None:
        self.assertIsNotNone(fault_of("query A { b } query B { a { a { a { a { a { a { b } } } } } } }"))

    def test_nesting_without_depth_ends_too(self) -> None:
        deep = "{" + "...{" * 60 + "a" + "}" * 60 + "}"
        self.assertEqual(fault_of(deep), ("QUERY_DEPTH_LIMIT_EXCEEDED", "Nested in more than 50 levels"))


class FragmentTests(SynchronousTestCase):
    def test_circles_are_refused(self) -> None:
        """The predecessor's fault: circular fragments gave a 500 (docs/predecessor-faults.md#fault-8)."""
        for circle in (
            "{ ...A } fragment A on Query { ...A }",
            "{ ...A } fragment A on Query { me { ...B } } fragment B on User { messages { ...A } }",
        ):
            self.assertEqual(
                fault_of(circle),
                ("GRAPHQL_VALIDATION_FAILED", "Cannot spread fragment 'A' within itself."),
            )

    def test_doubling_fragments_are_weighed_quickly(self) -> None:
        """Each spreads the next twice: 2 ** 40 objects."""
        fragments = [f"fragment F{n} on Q {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40)]
        text = "{ ...F0 } " + " ".join(fragments) + " fragment F40 on Q { a { b } }"
        self.assertEqual(fault_of(text, QueryLimits(depth=50))[0], "QUERY_COMPLEXITY_LIMIT_EXCEEDED")  # type: ignore[index]

    def test_unknown_ones_are_left_to_validation(self) -> None:
        check_document(parse("{ ...Nowhere }"), LIMITS)


class ComplexityTests(SynchronousTestCase):
    """The predecessor's fault: complexity ignored list sizes (docs/predecessor-faults.md#fault-25)."""

    def test_is_the_number_of_objects(self) -> None:
        for text, size in (
            ("{ me { id name } }", 1),
            ("{ sessions { id } }", 100),
            ("{ __schema { types { name } } }", 0),
            ("{ messages { edges { node { id } } } }", 1 + 20 * 2),
            ("{ messages(limit: 5) { edges { node { user { id } } } pageInfo { page } } }", 2 + 5 * 3),
            ("{ a(limit: 3) { edges { node { b(limit: 2) { edges { cursor } } } } } }", 1 + 3 * (2 + 1 + 2)),
            ("{ a(limit: 3) { ...F ...F } } fragment F on C { edges { cursor } }", 1 + 6),
            ("{ x: me { id } ... { y: me { id } } }", 2),
        ):
            self.assertEqual(size_of(text), size, text)

    def test_limits_from_variables(self) -> None:
        text = "query($n: Int) { messages(limit: $n) { edges { cursor } } }"
        for n, size in ((1, 2), (100, 101), (None, 21), (-5, 2), (1_000_000, 101)):
            self.assertEqual(size_of(text, n=n), size)
        self.assertEqual(size_of(text), 21)

    def test_an_answer_of_ten_thousand_is_refused(self) -> None:
        text = "{ a(limit: 100) { edges { node { b(limit: 100) { edges { node { id } } } } } } }"
        self.assertEqual(
            fault_of(text),
            (
                "QUERY_COMPLEXITY_LIMIT_EXCEEDED",
                "The answer may hold 20301 objects, at most 1000 are allowed",
            ),
        )


class CountTests(SynchronousTestCase):
    def test_aliases_and_directives(self) -> None:
        aliases = " ".join(f"a{n}: b" for n in range(31))
        self.assertEqual(
            fault_of(f"{{ {aliases} }}"), ("BAD_REQUEST", "More than 30 aliases and repeated fields")
        )
        directives = "@skip(if: false) " * 51
        for text in (
            f"{{ a {directives} }}",
            f"query Q {directives} {{ a }}",
            f"query Q($x: Int {directives}) {{ a }}",
            f"{{ ...F {directives} }} fragment F on Q {{ a }}",
            f"{{ a }} fragment F on Q {directives} {{ a }}",
            f"{{ ... {directives} {{ a }} }}",
        ):
            self.assertEqual(fault_of(text), ("BAD_REQUEST", "More than 50 directives"))

    def test_repeated_fields_count_as_aliases(self) -> None:
        """Validation compares each with each: 240 times `me { id }` stalled the server for 0.4 s."""
        for text in (
            "{ %s }" % ("me { id } " * 32),
            "{ me { %s } }" % ("id " * 32),
            "{ %s }" % ("... { me { id } } " * 32),
            "{ ...F } fragment F on Q { %s }" % ("b " * 32),
            "{ %s a: b }" % ("b " * 31),
        ):
            self.assertEqual(fault_of(text), ("BAD_REQUEST", "More than 30 aliases and repeated fields"))
        self.assertIsNone(fault_of("{ %s }" % ("me { id name } " * 31)))
        self.assertIsNone(fault_of("{ %s }" % " ".join(f"f{n} {{ id }}" for n in range(40))))

    def test_introspection_is_asked_for_once_or_twice(self) -> None:
        """Each costs 10 ms to answer, and aliases within it multiply that."""
        self.assertIsNone(fault_of('{ __schema { types { name } } a: __type(name: "User") { name } }'))
        self.assertEqual(
            fault_of("{ a: __schema { x } b: __schema { x } ...F } fragment F on Q { c: __type { x } }"),
            ("BAD_REQUEST", "More than 2 introspection fields"),
        )
        for text in (
            "{ __schema { types { a: fields { name } b: fields { name } } } }",
            "{ __schema { types { ... { a: name } } } }",
            "{ __schema { ...F } } fragment F on __Schema { a: types { name } }",
        ):
            self.assertEqual(fault_of(text), ("BAD_REQUEST", "No aliases within introspection"), text)


def selections(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Any selections at all, of names that mean something to the walks."""
    arguments = st.sampled_from(("", "(limit: 3)", "(limit: $n)", "(limit: -1)", '(limit: "x")', "(x: 1)"))
    fields = st.tuples(st.sampled_from(NAMES), arguments, children).map(
        lambda p: f"{p[0]}{p[1]} {{ {p[2]} }}"
    )
    inline = children.map(lambda inner: f"... {{ {inner} }}")
    spreads = st.integers(0, 3).map(lambda n: f"...F{n}")
    return st.lists(st.one_of(fields, inline, spreads, st.sampled_from(NAMES)), min_size=1, max_size=4).map(
        " ".join
    )


SELECTIONS = st.recursive(st.sampled_from(NAMES), selections, max_leaves=20)


class AnyDocumentTests(SynchronousTestCase):
    @given(SELECTIONS, st.lists(SELECTIONS, max_size=3), st.one_of(st.none(), st.integers()))
    def test_is_weighed_or_refused(self, body: str, fragments: list[str], n: int | None) -> None:
        """No document that parses makes the limits raise anything but `GraphQLError`."""
        rest = " ".join(f"fragment F{i} on Q {{ {inner} }}" for i, inner in enumerate(fragments))
        known = {f"F{i}" for i in range(len(fragments))}
        for i in range(4):
            if f"F{i}" not in known:  # a document that passed validation spreads no unknown ones
                rest += f" fragment F{i} on Q {{ a }}"
        fault_of(f"query($n: Int) {{ {body} }} {rest}", QueryLimits(depth=50), n=n)
