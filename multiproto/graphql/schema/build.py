"""Builds the schema from `schema.graphql`: binds the resolvers, and enforces `@auth`."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any, Callable

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    ValueNode,
    build_ast_schema,
    get_directive_values,
    parse,
    value_from_ast_untyped,
)
from graphql.validation.validate import assert_valid_sdl

from ...base import strict_json
from ...core.identity import check_full_access
from ..execution.asyncio_loop import TwistedEventLoop
from ..execution.context import Context
from ..execution.prefetch import RELATION_EXTENSION, RelationField
from ..execution.root_prefetch import ROOT_EXTENSION, RootField
from .resolvers import RelationResolvers, Resolvers

Resolver = Callable[..., Any]
AuthorizationCheck = Callable[[Context], None]

SDL_FILE = "schema.graphql"


def load_sdl() -> str:
    return resources.files("multiproto.graphql").joinpath(SDL_FILE).read_text("utf-8")


@cache
def _parse_sdl() -> DocumentNode:
    """The syntax of our schema, parsed and validated once in a process."""
    document = parse(load_sdl())
    assert_valid_sdl(document)
    return document


def make_schema(resolvers: Resolvers, loop: TwistedEventLoop) -> GraphQLSchema:
    """The schema, with a resolver for every root field and every relation; other fields are read from dicts."""
    schema = build_ast_schema(_parse_sdl(), assume_valid_sdl=True)
    for root, methods in (
        (schema.query_type, resolvers.queries),
        (schema.mutation_type, resolvers.mutations),
    ):
        assert root is not None
        for name, field in root.fields.items():
            method = getattr(methods, _to_snake_case(name))
            field.resolve = _authorized(schema, field, _root_resolver(method, loop))
            field.extensions[ROOT_EXTENSION] = RootField(_authorization_check(schema, field), method)
    assert schema.subscription_type is not None
    for name, field in schema.subscription_type.fields.items():
        method = getattr(resolvers.subscriptions, _to_snake_case(name))
        field.subscribe = _authorized(schema, field, _root_resolver(method, loop))
        field.resolve = _return_source  # the root value of each event is the field's value
    _bind_relations(schema, resolvers.relations, loop)
    any_json = schema.type_map["JSON"]
    assert isinstance(any_json, GraphQLScalarType)
    any_json.parse_literal = _parse_json_literal  # type: ignore[method-assign]
    return schema


def _bind_relations(schema: GraphQLSchema, relations: RelationResolvers, loop: TwistedEventLoop) -> None:
    for type_name, name, method in (
        ("User", "messages", relations.messages),
        ("Message", "user", relations.user),
        ("Message", "recipient", relations.recipient),
    ):
        field = _fields_of(schema, type_name)[name]
        field.resolve = _authorized(schema, field, _relation_resolver(method, loop))
    for name, id_key, nullable in (("user", "userId", False), ("recipient", "recipientId", True)):
        field = _fields_of(schema, "Message")[name]
        field.extensions[RELATION_EXTENSION] = RelationField(
            name, id_key, _authorization_check(schema, field), nullable
        )


def _fields_of(schema: GraphQLSchema, type_name: str) -> dict[str, GraphQLField]:
    owner = schema.type_map[type_name]
    assert isinstance(owner, GraphQLObjectType)
    fields: dict[str, GraphQLField] = owner.fields
    return fields


def _root_resolver(method: Resolver, loop: TwistedEventLoop) -> Resolver:
    def resolve(source: object, info: GraphQLResolveInfo[Any], **args: object) -> Any:
        context: Context = info.context
        if context.prefetched_root is not None:
            return context.prefetched_root.unwrap()
        return loop.result_or_future(method(context, args))

    return resolve


def _relation_resolver(method: Resolver, loop: TwistedEventLoop) -> Resolver:
    return lambda source, info, **args: loop.result_or_future(method(info.context, source, args))


def _return_source(source: object, info: GraphQLResolveInfo[Any], **args: object) -> object:
    return source


def _authorized(schema: GraphQLSchema, field: GraphQLField, resolve: Resolver) -> Resolver:
    """`resolve`, preceded by the check of the field's `@auth`, if it has one."""
    check = _authorization_check(schema, field)
    if check is None:
        return resolve

    def check_and_resolve(source: object, info: GraphQLResolveInfo[Any], **args: object) -> Any:
        check(info.context)
        return resolve(source, info, **args)

    return check_and_resolve


def _authorization_check(schema: GraphQLSchema, field: GraphQLField) -> AuthorizationCheck | None:
    """The check of a field with `@auth`: the caller must be authenticated.

    With a credential of a device, only fields with `@auth(topics: true)` are allowed.
    """
    directive = schema.get_directive("auth")
    assert directive is not None and field.ast_node is not None
    auth = get_directive_values(directive, field.ast_node)
    if auth is None:
        return None

    def check(context: Context) -> None:
        identity = context.caller.require_identity()
        if not auth["topics"]:
            check_full_access(identity)

    return check


def _to_snake_case(name: str) -> str:
    return re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)


def _parse_json_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    """The value of a JSON literal in a document; what JSON does not allow (1e999) is refused as in a body.

    A variable in it that has no value is null: during validation, none has one yet.
    """
    try:
        value = value_from_ast_untyped(node, variables)
        text = json.dumps(value, allow_nan=False, default=lambda undefined: None)
        return strict_json.loads(text.encode())
    except (ValueError, RecursionError):
        raise GraphQLError("Not a JSON value", node) from None
