"""Compiled selections and prefetching give the same responses as graphql-core alone."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Mapping
from unittest.mock import patch

from graphql import (
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_introspection_query,
    get_named_type,
    is_leaf_type,
)
from graphql.execution import Executor
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from multiproto.base import strict_json
from multiproto.core.errors import Unavailable
from multiproto.core.identity import Identity
from multiproto.core.model import Message, User
from multiproto.graphql.execution import compiled_selections, execute
from multiproto.graphql.execution.context import Caller
from multiproto.graphql.execution.errors import RequestError
from multiproto.graphql.execution.request import GraphQLRequest
from multiproto.graphql.schema.build import load_sdl
from multiproto.graphql.schema.resolvers import RelationResolvers
from multiproto.graphql.wiring import make_operation_executor
from tests.examples import examples

from ..server import START, ServerCase

SCHEMA: GraphQLSchema = build_schema(load_sdl())
VARIABLES = {"no": "Boolean = false", "yes": "Boolean!", "id": "ID!", "limit": "Int = 2"}
ODD: tuple[Any, ...] = (None, 7, True, 1.5, "text", ["a"], {"a": 1}, ValueError("odd"), lambda info: "called")


# Made once: for one that is new Hypothesis has much to find out, which took a tenth of the time of all of them.
DIRECTIVES = st.sampled_from(("", "", "", " @include(if: $yes)", " @skip(if: $no)", " @skip(if: true)"))
LIMITS = st.sampled_from(("", "(limit: 1)", "(limit: $limit)"))
ALIASES = st.sampled_from(("", "", "", "a{}: "))
NUMBERS = st.integers(0, 99)
AROUND = st.sampled_from(("{}",) * 6 + ("... {{ {} }}", "... on {type} {{ {} }}"))


@cache
def field_names(type_: str) -> st.SearchStrategy[list[str]]:
    """Some fields of an object type."""
    fields = getattr(SCHEMA.type_map[type_], "fields")  # noqa: B009
    return st.lists(st.sampled_from(["__typename", *fields]), min_size=1, max_size=4)


@cache
def selections(type_: str, plain: bool, depth: int = 0) -> st.SearchStrategy[str]:
    return selection(SCHEMA.type_map[type_], plain, depth)


@st.composite
def selection(draw: Any, type_: GraphQLObjectType, plain: bool, depth: int = 0) -> str:
    """Some fields of `type_`, in all the ways that a document can select them; `plain` is without directives."""
    parts = []
    for name in draw(field_names(type_.name)):
        field = type_.fields.get(name)
        below = None if field is None else get_named_type(field.type)
        if below is None or is_leaf_type(below):
            part = name
        elif depth < 4 and isinstance(below, GraphQLObjectType):
            args = draw(LIMITS) if field.args else ""
            part = f"{name}{args} {{ {draw(selections(below.name, plain, depth + 1))} }}"
        else:
            continue
        alias = draw(ALIASES).format(draw(NUMBERS))
        directive = "" if plain else draw(DIRECTIVES)
        if directive and "{" in part:
            at = part.index("{")
            part = f"{part[:at]}{directive} {part[at:]}"
        else:
            part += directive
        parts.append(draw(AROUND).format(alias + part, type=type_.name))
    return " ".join(parts) or "__typename"


ROOTS = (
    ("user(id: $id)", "User"),
    ("me", "User"),
    ("users(limit: $limit)", "UserConnection"),
    ("messages(limit: 3)", "MessageConnection"),
    ('channelMessages(channelId: "c")', "MessageConnection"),
    ("sessions", "Session"),
    ("health", "Health"),
    ('explain(topic: "a", verb: "publish")', "Standing"),
    ('explain(topic: "a..b", verb: "publish")', "Standing"),
)

SOME_ROOTS = st.lists(st.sampled_from(ROOTS), min_size=1, max_size=2)
YES_OR_NO = st.booleans()


@st.composite
def document(draw: Any) -> str:
    roots, plain = [], draw(YES_OR_NO)
    for number, (field, name) in enumerate(draw(SOME_ROOTS)):
        roots.append(f"r{number}: {field} {{ {draw(selections(name, plain))} ...F{name} }}")
    used = dict.fromkeys(name for _, name in ROOTS if f"...F{name} " in " ".join(roots))
    shown = [f"fragment F{name} on {name} {{ {draw(selections(name, plain))} }}" for name in used]
    return operation(f"{{ {' '.join(roots)} }} {' '.join(shown)}")


def operation(text: str) -> str:
    """With the variables that it uses."""
    used = ", ".join(f"${name}: {kind}" for name, kind in VARIABLES.items() if f"${name}" in text)
    return f"query Q({used}) {text}" if used else f"query Q {text}"


class SameTests(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        self.message(self.ann, "one", channelId="c")
        self.message(self.bob, "two", channelId="c", recipientId=self.ann)
        self.operations, self.stock = (make_operation_executor(self.needs) for _ in range(2))

    def stock_outcome(self, request: GraphQLRequest, caller: Caller) -> bytes:
        """What graphql-core answers without compiled selections and without anything prefetched."""

        async def prefetch_nothing(*_: object) -> None:
            """As `prefetch_root`."""

        with (
            patch.object(execute, "prefetch_root", prefetch_nothing),
            patch.object(compiled_selections.SelectionCompiler, "compile", lambda *_: None),
        ):
            return self.outcome(self.stock, request, caller)

    def outcome(self, operations: Any, request: GraphQLRequest, caller: Caller) -> bytes:
        try:
            prepared = operations.prepare(request)
        except RequestError as declined:
            return strict_json.dumps({"declined": declined.errors})
        running = Deferred.fromCoroutine(operations.execute(prepared, caller))
        for _ in range(20):
            self.turn()
        payload = self.successResultOf(running)
        self.flushLoggedErrors()
        payload.get("errors", []).sort(key=str)  # GraphQL, 7.1.2, gives them no order
        return strict_json.dumps(payload)

    def compare(
        self, text: str, odd: Mapping[str, Any], who: str | None, variables: Mapping[str, Any]
    ) -> None:
        identity = None if who is None else Identity(who, "s", START + 900)
        shown, said = User.to_json, Message.to_json

        def public(of: Any) -> Any:
            return lambda thing: {**of(thing), **odd}

        with patch.object(User, "to_json", public(shown)), patch.object(Message, "to_json", public(said)):
            for _ in range(2):  # anew, and as it is known
                request, caller = GraphQLRequest(text, None, variables), Caller("192.0.2.1", identity)
                self.assertEqual(
                    self.outcome(self.operations, request, caller), self.stock_outcome(request, caller), text
                )

    @settings(max_examples=examples(400), deadline=None)
    @given(
        document(),
        st.dictionaries(
            st.sampled_from(("id", "name", "createdAt", "userId", "content", "channelId")),
            st.sampled_from(ODD),
            max_size=2,
        ),
        st.booleans(),
        st.booleans(),
    )
    def test_whatever_is_asked(self, text: str, odd: Mapping[str, Any], known: bool, yes: bool) -> None:
        self.compare(text, odd, self.ann if known else None, {"yes": yes, "id": self.bob})

    def test_variables_are_read_anew_each_time(self) -> None:
        text = operation("{ user(id: $id) { name @include(if: $yes) } users(limit: $limit) { cursor } }")
        for variables in (
            {"yes": True, "id": self.ann},
            {"yes": False, "id": self.bob, "limit": 1},
            {"yes": "x", "id": {}},
            {"yes": True, "id": self.ann, "limit": 2**40},
            {"yes": True, "id": "none"},
            {"yes": True, "id": self.ann, "limit": 101},
        ):
            self.compare(text, {}, self.ann, variables)

    def test_the_limits_hold_for_each_of_them(self) -> None:
        """A number that was good before does not make another good."""
        text = "query($limit: Int) { users(limit: $limit) { edges { node { messages(limit: $limit) { edges { node { id } } } } } } }"
        for limit in (1, 100, 1, 30, 31):
            self.compare(text, {}, self.ann, {"limit": limit})
        codes = [
            json.loads(
                self.outcome(
                    self.operations,
                    GraphQLRequest(text, None, {"limit": n}),
                    Caller("", Identity(self.ann, "s", START + 900)),
                )
            )
            for n in (1, 100)
        ]
        self.assertEqual(["declined" in each for each in codes], [False, True])

    AUTHORS = "{ messages { edges { node { id user { name } recipient { name } } } } }"

    def test_what_relations_lead_to_is_read_ahead_and_once(self) -> None:
        caller, request = Caller("", Identity(self.ann, "s", START + 900)), GraphQLRequest(self.AUTHORS)
        stock = self.stock_outcome(request, caller)
        self.assertEqual(stock.count(b'"name":"Bob"'), 1)
        self.store.reads.clear()
        with patch.object(RelationResolvers, "_load_user", lambda *_: 1 / 0):
            self.assertEqual(self.outcome(self.operations, request, caller), stock)
        self.assertEqual(self.store.reads.count("users_by_ids"), 1)

    def test_what_can_not_be_read_ahead_is_told_as_ever(self) -> None:
        for fault in (Unavailable("The database is away"), KeyError("a bug")):
            self.store.failures["users_by_ids"] = fault
            self.compare(self.AUTHORS, {}, self.ann, {})
        del self.store.failures["users_by_ids"]
        for odd in ({"userId": self.ann.replace("0", "1")}, {"recipientId": None}, {"recipientId": "nobody"}):
            self.compare(self.AUTHORS, odd, self.ann, {})

    def test_introspection(self) -> None:
        """Whole and in part, with what depends on variables and what is selected twice."""
        whole = (
            get_introspection_query(),
            get_introspection_query(
                descriptions=False,
                specified_by_url=True,
                directive_is_repeatable=True,
                schema_description=True,
            ),
        )
        parts = (
            '{ __type(name: "User") { __typename kind fields { name type { ofType { n: name kind } } } } }',
            '{ __type(name: "Nobody") { name } }',
            '{ __type(name: "__TypeKind") { enumValues(includeDeprecated: true) { name isDeprecated } } }',
            "{ __schema { types { name ... on __Type { kind } fields { args { defaultValue type { name } } } } } }",
            "{ __schema { types { name name } directives { locations } directives { name } } }",
            "{ __schema { types { fields(includeDeprecated: null) { name } } } }",
            "query ($yes: Boolean!) { __schema { types { name @include(if: $yes) kind @skip(if: $yes) } } }",
            "query ($yes: Boolean!) { __schema { types { fields(includeDeprecated: $yes) { name } } } }",
            "{ me { name } __schema { queryType { name possibleTypes { name } inputFields { name } } } }",
        )
        for text in (*whole, *parts):
            self.compare(text, {}, self.ann, {"yes": True})

    def test_introspection_is_compiled(self) -> None:
        """graphql-core completes nothing below the root: that took 15 to 30 ms."""
        completed: list[str] = []
        complete_value = Executor.complete_value

        def complete(self: Any, return_type: Any, *args: Any) -> Any:
            completed.append(str(return_type))
            return complete_value(self, return_type, *args)

        with patch.object(Executor, "complete_value", complete):
            self.outcome(self.operations, GraphQLRequest(get_introspection_query()), Caller("", None))
        self.assertEqual(completed, [])

    def test_plans_are_used(self) -> None:
        read: list[Any] = []
        value = compiled_selections._compile_type
        with patch.object(
            compiled_selections, "_compile_type", lambda *args: (read.append(args), value(*args))[1]
        ):
            text = "{ users { edges { node { id name } cursor } } }"
            self.outcome(
                self.operations, GraphQLRequest(text), Caller("", Identity(self.ann, "s", START + 900))
            )
        self.assertTrue(read)
