"""`/graphql` as the GraphQL over HTTP specification requires it: media types, statuses, batches, GET and POST."""

from __future__ import annotations

import gc
import json
from time import thread_time
from typing import Any, Mapping

from graphql import build_client_schema, get_introspection_query

from multiproto.core.turn_scheduler import TURN_BUDGET
from multiproto.graphql.execution.limits import QueryLimits

from ..server import Answer, ServerCase
from .post_dialogues import (
    CALLERS,
    FOR_ANY_CALLER,
    FOR_EACH_CALLER,
    JSON,
    NEWER,
    UNSUPPORTED,
    UNSUPPORTED_TEXT,
)

RESPONSE = "application/graphql-response+json"
HEALTH = {"query": "{ health { status } }"}


class PostTests(ServerCase):
    def check(self, body: str, headers: Mapping[str, str], status: int, media_type: str, text: str) -> None:
        headers = {name: value.replace("{ann}", self.ann) for name, value in headers.items()}
        answer = self.request("POST", body=body.encode(), **headers).answer
        self.assertEqual(
            (answer.status, answer.headers["content-type"], answer.text),
            (status, f"{media_type}; charset=utf-8", text),
            (body, headers),
        )

    def test_dialogues(self) -> None:
        for number, caller in enumerate(CALLERS.values()):
            for media_type in (JSON, NEWER):
                headers = {"Content_Type": "application/json", "Accept": media_type, **caller}
                for body, json_status, newer_status, text in FOR_ANY_CALLER:
                    status = json_status if media_type == JSON else newer_status
                    self.check(body, headers, status, media_type, text)
                for body, *texts in FOR_EACH_CALLER:
                    self.check(body, headers, 200, media_type, texts[number])

    def test_unsupported_content_types(self) -> None:
        for headers in UNSUPPORTED:
            for body, *_ in (*FOR_ANY_CALLER, *FOR_EACH_CALLER):
                self.check(body, headers, 415, JSON, UNSUPPORTED_TEXT)

    def test_required_variables_work(self) -> None:
        """The predecessor's fault: they never worked on the real server.

        docs/predecessor-faults.md#fault-18
        """
        query = "query($id: ID!) { user(id: $id) { name } }"
        self.assertEqual(self.data(query, self.ann, id=self.bob), {"user": {"name": "Bob"}})
        (error,) = self.ask(query, self.ann)["errors"]
        self.assertIn("$id", error["message"])
        self.assertEqual(error["extensions"], {"code": "BAD_REQUEST", "status": 400})

    def test_an_answer_whole(self) -> None:
        answer = self.post(HEALTH).answer
        self.assertEqual((answer.status, answer.text), (200, '{"data":{"health":{"status":"degraded"}}}'))
        self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["content-length"], str(len(answer.text)))

    def test_media_types_and_statuses(self) -> None:
        """What was no request is 400; a request that failed is 200, but 400 in the newer media type."""
        for value, json_status, response_status in (
            (HEALTH, 200, 200),
            ({"query": "{ me { id } }"}, 200, 200),
            ({"query": "{"}, 200, 400),
            ({"query": "{ nope }"}, 200, 400),
            ({"query": "query($x: Int!) { users(page: $x) { cursor } }"}, 200, 400),
            ({"query": "query A { a: __typename } query B { b: __typename }"}, 200, 400),
            ({"query": 7}, 400, 400),
            ({}, 400, 400),
            ([], 400, 400),
        ):
            for accept, status in (
                (None, json_status),
                ("*/*", json_status),
                ("application/json", json_status),
                ("image/png", json_status),
                (RESPONSE, response_status),
                (f"application/json;q=0.9, {RESPONSE}", response_status),
            ):
                answer = self.post(value, Accept=accept).answer
                media = RESPONSE if accept and RESPONSE in accept else "application/json"
                self.assertEqual(
                    (answer.status, answer.headers["content-type"]),
                    (status, f"{media}; charset=utf-8"),
                    value,
                )
                if answer.status == 400:
                    self.assertEqual(set(answer.json), {"errors"})

    def test_operation_names(self) -> None:
        query = "query A { a: __typename } query B { b: __typename }"
        self.assertEqual(
            self.post({"query": query, "operationName": "B"}).answer.json, {"data": {"b": "Query"}}
        )
        for name in (None, "C"):
            result = self.post({"query": query, "operationName": name}).answer.json
            self.assertEqual(result["errors"][0]["extensions"], {"code": "BAD_REQUEST", "status": 400})

    def test_what_is_no_json_body(self) -> None:
        body = json.dumps(HEALTH).encode()
        for content_type, sent, status in (
            ("text/plain", body, 415),
            (None, body, 415),
            ("application/x-www-form-urlencoded", b"query=%7B__typename%7D", 415),
            ("application/json; charset=utf-16", body, 415),
            ("application/json", b"", 400),
            ("application/json", b"{", 400),
            ("application/json", b'"x"', 400),
            ("application/json", b'{"query":"{__typename}","variables":{"x":NaN}}', 400),
            ("application/json", b" " * (2**20 + 1), 413),
        ):
            answer = self.request("POST", body=sent, Content_Type=content_type).answer
            self.assertEqual(answer.status, status, content_type)
            self.assertEqual(answer.json["errors"][0]["extensions"]["status"], status)

    def test_a_misspelt_or_doubled_parameter_of_a_url(self) -> None:
        for query in ("qurey=%7B__typename%7D", "query=%7Bme%7D&query=%7B__typename%7D"):
            answer = self.request("GET", f"/graphql?{query}").answer
            self.assertEqual((answer.status, set(answer.json)), (400, {"errors"}), query)
            extensions = answer.json["errors"][0]["extensions"]
            self.assertEqual(extensions, {"code": "BAD_REQUEST", "status": 400})

    def test_other_methods(self) -> None:
        for method in ("PUT", "DELETE", "OPTIONS"):
            answer = self.request(method).answer
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, POST"))

    def test_a_client_that_left_is_not_answered(self) -> None:
        exchanged = self.post_unanswered({"query": "{ me { id } }"})
        exchanged.hang_up()
        self.turn()
        self.assertEqual(exchanged.wire.value(), b"")

    def send_and_wait(self, body: Any, hang_up: bool) -> Any:
        """POST `body` when the reactor has no time left; the messages that there are in the end."""
        self.serve()
        turn: Any = self.hub.turns._turn
        turn.seconds += 1.0
        exchanged = self.post_unanswered(body)
        if hang_up:
            exchanged.hang_up()
        self.turn()
        turn.end()
        self.turn()
        sent = self.data("{ messages { edges { node { content } } } }", self.ann)
        return [edge["node"]["content"] for edge in sent["messages"]["edges"]]

    def test_nothing_is_begun_for_a_client_that_left_while_it_waited(self) -> None:
        """Hours of work can wait: a batch of large documents on each of 200 connections."""
        send = {"query": 'mutation { sendMessage(input: {content: "x", channelId: "c"}) { id } }'}
        for body in (send, [send, send]):
            self.assertEqual(self.send_and_wait(body, hang_up=True), [])
        self.assertEqual(self.send_and_wait(send, hang_up=False), ["x"])
        self.assertEqual(self.send_and_wait([send, send], hang_up=False), ["x", "x", "x"])

    def test_a_bug_is_a_500(self) -> None:
        class BrokenAccess:
            async def authenticate(self, token: str, client: object) -> None:
                raise KeyError("secret")

        self.serve(request_authenticator=BrokenAccess())
        answer = self.post(HEALTH, self.ann).answer
        self.assertEqual((answer.status, "secret" in answer.text), (500, False))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class GetTests(ServerCase):
    def test_queries(self) -> None:
        answer = self.get(
            who=self.ann,
            query="query Q($id: ID!) { user(id: $id) { name } } query R { me { id } }",
            operationName="Q",
            variables=json.dumps({"id": self.bob}),
        ).answer
        self.assertEqual((answer.status, answer.json), (200, {"data": {"user": {"name": "Bob"}}}))
        self.assertEqual(self.get(query="{").answer.status, 200)
        self.assertEqual(self.get(query="{", headers={"Accept": RESPONSE}).answer.status, 400)
        for query in (
            {},
            {"query": ""},
            {"query": "{a}", "variables": "[]"},
            {"query": "{a}", "variables": "{"},
        ):
            self.assertEqual(self.get(**query).answer.status, 400)  # type: ignore[arg-type]

    def test_mutations_never(self) -> None:
        for accept in ("application/json", RESPONSE, "text/event-stream"):
            answer = self.get(
                who=self.ann, query="mutation { deleteUser }", headers={"Accept": accept}
            ).answer
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        self.assertEqual(self.data("{ me { name } }", self.ann), {"me": {"name": "Ann"}})

    def test_head(self) -> None:
        answer = self.request("HEAD", "/graphql?query=%7B__typename%7D").answer
        self.assertEqual((answer.status, answer.text), (200, ""))


class BatchTests(ServerCase):
    def test_each_has_its_own_result(self) -> None:
        send = 'mutation { sendMessage(input: {content: "x", channelId: "c"}) { content } }'
        batch = [HEALTH, {"query": send}, {"query": "{"}, {"query": "subscription { userCreated { id } }"}]
        answer = self.post(batch, self.ann).answer
        self.assertEqual(answer.status, 200)
        health, sent, unparsed, subscription = answer.json
        self.assertEqual(health, {"data": {"health": {"status": "degraded"}}})
        self.assertEqual(sent, {"data": {"sendMessage": {"content": "x"}}, "extensions": {"cursor": "t.3"}})
        self.assertEqual(unparsed["errors"][0]["extensions"]["code"], "GRAPHQL_PARSE_FAILED")
        self.assertEqual(subscription["errors"][0]["message"], "A batch can't hold subscriptions")

    def test_one_that_has_begun_goes_before_the_next_of_its_address(self) -> None:
        """By turns all of 200 would be answered at the end, and their first results be held until then."""
        turn: Any = self.hub.turns._turn
        turn.seconds += 1.0
        for content in ("one", "two"):
            send = f'mutation {{ sendMessage(input: {{content: "{content}", channelId: "c"}}) {{ id }} }}'
            self.post_unanswered([{"query": send}] * 2)
        turn.step = TURN_BUDGET  # each look at the clock takes so long: a piece of work in each turn
        for _ in range(20):
            turn.end()
            self.turn()
        turn.step = 0.0
        turn.end()
        sent = self.data("{ messages { edges { node { content } } } }", self.ann)
        contents = [edge["node"]["content"] for edge in sent["messages"]["edges"]]
        self.assertEqual(contents, ["two", "two", "one", "one"])  # the newest one comes first

    def test_is_bounded(self) -> None:
        for count, status in ((10, 200), (11, 400), (5000, 400)):
            self.assertEqual(self.post([HEALTH] * count).answer.status, status)


class BombTests(ServerCase):
    """Work per request is bounded, the reactor never stalls 250 ms.

    docs/guarantees.md#g9-isolation, docs/predecessor-faults.md#fault-8,
    docs/predecessor-faults.md#fault-25
    """

    def code(self, query: str) -> Any:
        gc.disable()  # a collection of all garbage may cost half a second
        self.addCleanup(gc.enable)
        began = thread_time()
        answer = self.post({"query": query}, self.ann).answer
        # Seconds of CPU: four times what they take.
        self.assertLess(thread_time() - began, 1.0, query[:80])
        self.assertEqual(answer.status, 200)
        result = answer.json
        return result["errors"][0]["extensions"]["code"] if "errors" in result else "passed"

    def test_are_refused_quickly(self) -> None:
        fragments = "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }} " for n in range(60))
        circle = "fragment A on Query { ...B } fragment B on Query { ...A }"
        deep = "{ user { messages { edges { node " * 12 + "{ id }" + " } } } }" * 12
        for query, code in (
            ("{ " + " ".join(f"a{n}: __typename" for n in range(300)) + " }", "BAD_REQUEST"),
            ("{ " + "__typename " * 2000 + "}", "GRAPHQL_PARSE_FAILED"),
            ("{ " + "__typename @skip(if: false) " * 100 + "}", "BAD_REQUEST"),
            ("{ __typename " + "@x " * 400 + "}", "BAD_REQUEST"),
            ("{ ...A } " + circle, "GRAPHQL_VALIDATION_FAILED"),
            ("{ __typename } " + circle, "GRAPHQL_VALIDATION_FAILED"),
            (
                "{ __schema { ...A } } fragment A on __Schema { types { ...B } } fragment B on __Type { fields { type { ...B } } }",
                "GRAPHQL_VALIDATION_FAILED",
            ),
            ("{ ...F0 } " + fragments + "fragment F60 on Query { __typename }", "QUERY_DEPTH_LIMIT_EXCEEDED"),
            (deep, "QUERY_DEPTH_LIMIT_EXCEEDED"),
            ("{ " * 480 + "a" + " }" * 480, "GRAPHQL_PARSE_FAILED"),
            ("{ publish(data: " + "[" * 480 + "]" * 480 + ") }", "GRAPHQL_PARSE_FAILED"),
            ("{" + " me { id }" * 245 + " }", "BAD_REQUEST"),
            ("{ " + "users { cursor } " * 31 + "}", "passed"),
            ("#\n" * 100_000, "GRAPHQL_PARSE_FAILED"),
            ("," * 500_000 + "{ __typename }", "GRAPHQL_PARSE_FAILED"),
            (
                "{ users(limit: 100) { edges { node { messages(limit: 100) { edges { node { id } } } } } } }",
                "QUERY_COMPLEXITY_LIMIT_EXCEEDED",
            ),
            (
                "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
                "GRAPHQL_VALIDATION_FAILED",
            ),
            ("{ user(id: " + "9" * 10_000 + ") { id } }", "VALIDATION_ERROR"),
            ("{ users(limit: " + "9" * 10_000 + ") { cursor } }", "GRAPHQL_VALIDATION_FAILED"),
        ):
            self.assertEqual(self.code(query), code, query[:100])

    def test_limits_come_from_the_configuration(self) -> None:
        self.serve(limits=QueryLimits(depth=1, complexity=2))
        self.assertEqual(self.code("{ health { dependencies { name } } }"), "QUERY_DEPTH_LIMIT_EXCEEDED")
        self.assertEqual(
            self.code("{ a: me { id } b: me { id } c: me { id } }"), "QUERY_COMPLEXITY_LIMIT_EXCEEDED"
        )

    def test_variables_count(self) -> None:
        query = "query($n: Int = 100) { users { edges { node { messages(limit: $n) { edges { node { id } } } } } } }"
        self.assertEqual(self.codes(query, self.ann), ["QUERY_COMPLEXITY_LIMIT_EXCEEDED"])
        self.assertEqual(self.codes(query, self.ann, n=50), ["QUERY_COMPLEXITY_LIMIT_EXCEEDED"])
        self.data(query, self.ann, n=5)


class DocumentTests(ServerCase):
    def test_a_document_is_kept_from_its_second_use_on(self) -> None:
        documents = self.site.resource.children[b"graphql"]._operation_executor._document_cache
        kept = []
        for _ in range(3):
            self.post(HEALTH)
            kept.append(list(documents._cache))
        self.assertEqual(kept, [[], [HEALTH["query"]], [HEALTH["query"]]])

    def test_documents_that_come_once_push_out_no_others(self) -> None:
        documents = self.site.resource.children[b"graphql"]._operation_executor._document_cache
        for text in (
            HEALTH["query"],
            HEALTH["query"],
            *(f"{{ health {{ status }} }} # {n} " + "x" * 50_000 for n in range(4)),
        ):
            self.post({"query": text})
        self.assertEqual(list(documents._cache), [HEALTH["query"]])

    def test_the_longest_unused_are_forgotten(self) -> None:
        documents = self.site.resource.children[b"graphql"]._operation_executor._document_cache
        texts = [f"{{ health {{ status }} }} # {n} " + "x" * 50_000 for n in range(4)]
        for number in (0, 0, 1, 1, 0, 2, 2, 3, 3):
            self.post({"query": texts[number]})
        self.assertEqual([text[:24] for text in documents._cache], [t[:24] for t in texts[2:]])
        self.assertLess(documents._cache.weight, 131_072)


class IntrospectionTests(ServerCase):
    def test_describes_everything(self) -> None:
        schema = build_client_schema(self.data(get_introspection_query()))
        self.assertEqual(
            set(schema.subscription_type.fields),
            {"userCreated", "userUpdated", "messageSent", "messageToUser", "topic"},
        )  # type: ignore[union-attr]
        self.assertTrue(schema.type_map["User"].fields["messages"])  # type: ignore[attr-defined]

    def test_can_be_switched_off(self) -> None:
        """The predecessor's fault: the introspection switch was never read.

        docs/predecessor-faults.md#fault-6
        """
        self.serve(introspection=False)
        (error,) = self.ask("{ __schema { types { name } } }")["errors"][:1]
        self.assertEqual(error["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED")
        self.assertNotIn("Did you mean", str(self.ask("{ usr { id } }")))
        self.data("{ health { __typename } }")


class PlaygroundTests(ServerCase):
    BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    def page(self, path: str = "/graphql", headers: dict[str, str] | None = None) -> Answer:
        return self.get(path, headers=self.BROWSER if headers is None else headers).answer

    def test_is_off_unless_switched_on(self) -> None:
        self.assertEqual(self.page().status, 400)

    def test_is_made_of_our_own_files(self) -> None:
        self.serve(playground=True, path="/gql")
        page = self.page()
        self.assertEqual((page.status, page.headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertIn('<base href="/gql/">', page.text)
        for forbidden in ("http:", "https:", "//", "style=", "onclick"):
            self.assertNotIn(forbidden, page.text)
        self.assertIn("script-src 'self'", page.headers["content-security-policy"])
        for name, media in (
            ("page.js", "text/javascript"),
            ("page.css", "text/css"),
            ("schema.graphql", "text/plain"),
        ):
            answer = self.page(f"/graphql/{name}", {})
            self.assertEqual(
                (answer.status, answer.headers["content-type"]), (200, f"{media}; charset=utf-8")
            )

    def test_leaves_queries_alone(self) -> None:
        self.serve(playground=True, introspection=False)
        answer = self.get(query="{ __typename }", headers=self.BROWSER).answer
        self.assertEqual(answer.json, {"data": {"__typename": "Query"}})
        self.assertEqual(self.page(headers={}).status, 400)
        self.assertEqual(self.page("/graphql/schema.graphql").status, 400)
