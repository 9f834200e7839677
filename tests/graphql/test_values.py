"""No error of GraphQL repeats a value that a client has given: it may be a password."""

from __future__ import annotations

import json
from typing import Any, Iterator

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_leaf_type,
    parse_const_value,
)

from multiproto.graphql.execution.errors import redact_values
from multiproto.graphql.schema.build import load_sdl

from .server import ServerCase

SCHEMA = build_schema(load_sdl())

WORD, NUMBER = "hunter2Secret", "31337"  # in all values, and in no message
LITERALS = (
    WORD,
    f'"{WORD}"',
    f'"""{WORD}"""',
    f'["{WORD}"]',
    f"[{WORD}, {WORD}]",
    f'{{a: "{WORD}"}}',
    f"{{a: {WORD}}}",
    f"[{{a: {NUMBER}}}]",
    NUMBER,
    f"-{NUMBER}",
    f"{NUMBER}.5",
    f"{NUMBER}{NUMBER}{NUMBER}",
    f"{NUMBER}e999",
    "9" * 5000 + NUMBER,
)
VALUES: tuple[Any, ...] = (
    *(
        WORD,
        [WORD],
        {"a": WORD},
        [{"a": WORD}],
        [[WORD]],
        WORD * 1000,
        f"\n{WORD}",
        f"'{WORD}\"",
        f"{WORD}: {WORD}",
    ),
    *(int(NUMBER), -int(NUMBER), int(NUMBER * 5), int(NUMBER) + 0.5, float(f"{NUMBER}e99"), [int(NUMBER)]),
)
BROKEN = (
    f'"{WORD}',
    f'"{WORD}\\q"',
    f'"\\u{WORD}"',
    f'"\\u{{{NUMBER}{NUMBER}}}"',
    f'"""{WORD}',
    f"{NUMBER}x",
    f"0{NUMBER}",
    f"{NUMBER}.{WORD}",
    f'"" {WORD}',
    f"{WORD} {WORD}",
    f"'{WORD}'",
    f"[{WORD}",
    f"{{{WORD}",
    f'{{"{WORD}": 1}}',
    f"{{{WORD} {WORD}}}",
    f"@{WORD} {WORD}",
    f"{WORD}!",
    f"?{WORD}",
    f"{WORD}@{WORD}.org",
    f"-{WORD}",
    f"...{WORD}",
)


def calls(schema: GraphQLSchema) -> Iterator[tuple[str, str, str, GraphQLArgument]]:
    """(kind, start, rest, argument) of each argument of a root field: `start`, its value and `rest` make a call."""
    for kind, root in (
        ("query", schema.query_type),
        ("mutation", schema.mutation_type),
        ("subscription", schema.subscription_type),
    ):
        assert root is not None
        for name, field in root.fields.items():
            selection = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
            for argument in field.args:
                yield kind, f"{name}({argument}: ", f"){selection}", field.args[argument]


def members(argument: GraphQLArgument) -> Iterator[str]:
    """The members of an argument that is an object."""
    named = get_named_type(argument.type)
    if isinstance(named, GraphQLInputObjectType):
        yield from named.fields


class ValuesTests(ServerCase):
    def errors_of(self, query: str, name: str | None = None, **variables: Any) -> list[str]:
        """Those of the errors of an operation, none of which has a value in it."""
        request = {"query": query, "operationName": name, "variables": variables}
        answer = self.post(request, self.ann).answer
        self.assertNotIn("INTERNAL_ERROR", answer.text)
        found = []
        for error in answer.json.get("errors", []):
            text = error["message"] + json.dumps(error["extensions"])
            if "Not a topic" not in text:  # which are quoted, on all protocols
                self.assertNotIn(WORD, text, query)
                self.assertNotIn(NUMBER, text, query)
            found.append(error["message"])
        return found

    def test_wrong_literals_of_every_argument(self) -> None:
        refused = 0
        for kind, start, rest, argument in calls(SCHEMA):
            for literal in (*LITERALS, *BROKEN):
                for value in (literal, *(f"{{{member}: {literal}}}" for member in members(argument))):
                    refused += bool(self.errors_of(f"{kind} {{ {start}{value}{rest} }}"))
        self.assertGreater(refused, 2000)

    def test_wrong_variables_of_every_argument(self) -> None:
        refused = 0
        for kind, start, rest, argument in calls(SCHEMA):
            query = f"{kind} Q($v: {argument.type}) {{ {start}$v{rest} }}"
            for wrong in VALUES:
                for value in (wrong, *({member: wrong} for member in members(argument))):
                    refused += bool(self.errors_of(query, v=value))
        self.assertGreater(refused, 500)

    def test_wrong_values_elsewhere(self) -> None:
        """In defaults of variables and in directives; and names that are values, as that of the operation."""
        for literal in (*LITERALS, *BROKEN):
            for type in ("Int", "[Boolean!]!", "SendMessageInput"):
                self.errors_of(f"query ($v: {type} = {literal}) {{ users(page: $v) {{ cursor }} }}")
            self.assertTrue(self.errors_of(f"{{ me @skip(if: {literal}) {{ id }} }}"))
        for value in VALUES:
            self.assertTrue(self.errors_of("query ($v: Boolean!) { me @include(if: $v) { id } }", v=value))
        self.assertEqual(self.errors_of("query A { __typename }", WORD), ["Unknown operation."])

    def test_the_message_says_what_is_wrong_and_where(self) -> None:
        for query, message in (
            (
                "{ users(page: 31337313373) { cursor } }",
                "Int cannot represent non 32-bit signed integer value",
            ),
            (f'{{ users(page: "{WORD}") {{ cursor }} }}', "Int cannot represent non-integer value"),
            (f"mutation {{ login(email {WORD}) }}", "Syntax Error: Expected ':', found Name."),
            (f"mutation {{ login({WORD} {WORD}) }}", "Syntax Error: Expected ':', found Name."),
            ('{ user(id: "\\u{31337313}") }', "Syntax Error: Invalid Unicode escape sequence"),
            ('{ user(id: "\\hunter2Secret") }', "Syntax Error: Invalid character escape sequence"),
        ):
            answer = self.ask(query, self.ann)
            self.assertEqual([error["message"] for error in answer["errors"]], [message])
            self.assertTrue(answer["errors"][0]["locations"], query)

    def test_null_is_called_null(self) -> None:
        for query, variables in (
            ("{ user(id: null) { id } }", {}),
            ("query($id: ID!) { user(id: $id) { id } }", {"id": None}),
        ):
            [message] = self.errors_of(query, **variables)
            self.assertTrue("null" in message and "None" not in message, message)

    def test_what_graphql_core_says_of_an_enum(self) -> None:
        """No argument has one today."""
        enum = GraphQLEnumType("E", {"RED": 0})
        for value in (WORD, [WORD]):
            with self.assertRaises(GraphQLError) as caught:
                enum.coerce_input_value(value)
            self.assertNotIn(WORD, redact_values(caught.exception.message))
        for literal in (WORD, f'"{WORD}"'):
            with self.assertRaises(GraphQLError) as caught:
                enum.coerce_input_literal(parse_const_value(literal))
            self.assertNotIn(WORD, redact_values(caught.exception.message))
