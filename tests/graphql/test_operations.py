"""Queries and mutations over real HTTP, on real SQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from multiproto.core.domain.login_throttle import LoginThrottle
from multiproto.core.errors import Unavailable
from multiproto.core.ratelimit.fixed_window import RateLimit

from .server import DELETE_USER, PASSWORD, ServerCase

MISSING = str(UUID(int=7))
PAGE = "edges { node { id content } } pageInfo { page limit total totalPages hasNextPage hasPreviousPage }"


class QueryTests(ServerCase):
    def test_users(self) -> None:
        page = self.data(
            """{ users(limit: 1) { edges { node { name email } cursor }
                 pageInfo { page limit total totalPages hasNextPage hasPreviousPage before after } cursor } }""",
            self.ann,
        )["users"]
        self.assertEqual(
            page,
            {
                "edges": [{"node": {"name": "Bob", "email": "Bob@example.org"}, "cursor": "t.2"}],
                "pageInfo": {
                    "page": 1,
                    "limit": 1,
                    "total": 2,
                    "totalPages": 2,
                    "hasNextPage": True,
                    "hasPreviousPage": False,
                    "before": "t.2",
                    "after": "t.2",
                },
                "cursor": "t.2",
            },
        )

    def test_one_by_id_and_oneself(self) -> None:
        data = self.data(
            "query($id: ID!) { user(id: $id) { name } me { name createdAt updatedAt } }",
            self.ann,
            id=self.bob,
        )
        at = "2027-01-15T08:00:00.000Z"
        self.assertEqual(
            data, {"user": {"name": "Bob"}, "me": {"name": "Ann", "createdAt": at, "updatedAt": at}}
        )

    def test_what_is_missing_is_null_and_an_error(self) -> None:
        result = self.ask(
            "query($id: ID!) { user(id: $id) { name } message(id: $id) { id } me { name } }",
            self.ann,
            id=MISSING,
        )
        self.assertEqual(result["data"], {"user": None, "message": None, "me": {"name": "Ann"}})
        self.assertEqual(
            result["errors"],
            [
                {
                    "message": f"{kind} not found",
                    "extensions": {
                        "code": "NOT_FOUND",
                        "status": 404,
                        "details": {"resource": kind, "id": MISSING},
                    },
                    "locations": [{"line": 1, "column": column}],
                    "path": [kind.lower()],
                }
                for kind, column in (("User", 19), ("Message", 42))
            ],
        )

    def test_lists_of_messages(self) -> None:
        first = self.message(self.ann, "one", channelId="c.1")
        second = self.message(self.bob, "two", channelId="d")
        data = self.data(
            f"""query($user: ID!, $channel: ID!) {{
              messages {{ {PAGE} }}
              userMessages(userId: $user) {{ {PAGE} }}
              channelMessages(channelId: $channel, page: 1, limit: 5) {{ {PAGE} cursor }}
            }}""",
            self.ann,
            user=self.bob,
            channel="c.1",
        )
        ids = {name: [edge["node"]["id"] for edge in page["edges"]] for name, page in data.items()}
        self.assertEqual(
            ids,
            {"messages": [second.id, first.id], "userMessages": [second.id], "channelMessages": [first.id]},
        )
        self.assertEqual(data["channelMessages"]["pageInfo"]["limit"], 5)
        self.assertEqual(data["channelMessages"]["cursor"], "t.4")

    def test_health_needs_no_login(self) -> None:
        self.assertEqual(
            self.data("{ health { status timestamp uptime dependencies { name status responseTime } } }"),
            {
                "health": {
                    "status": "degraded",
                    "timestamp": "2026-11-22T19:21:04.531Z",
                    "uptime": 2.5,
                    "dependencies": [
                        {"name": "database", "status": "up", "responseTime": 2},
                        {"name": "cache", "status": "down", "responseTime": None},
                    ],
                }
            },
        )

    def test_every_list_checks_its_limits(self) -> None:
        """The predecessor's fault: one list took any limit, including -1 and 1,000,000.

        docs/predecessor-faults.md#fault-20
        """
        for field in (
            "users",
            "messages",
            f'userMessages(userId: "{self.ann}",',
            'channelMessages(channelId: "c",',
        ):
            opening = field if "(" in field else f"{field}("
            for arguments in ("limit: -1", "limit: 0", "limit: 1000000", "page: 0"):
                self.assertEqual(
                    self.codes(f"{{ {opening} {arguments}) {{ edges {{ cursor }} }} }}", self.ann),
                    ["VALIDATION_ERROR"],
                )
        query = "{ me { messages(limit: 101) { cursor } } }"
        error = self.ask(query, self.ann)["errors"][0]
        self.assertEqual(
            error["extensions"]["details"],
            {"errors": [{"path": ["limit"], "message": "Must be from 1 to 100"}]},
        )


class AuthTests(ServerCase):
    def test_every_field_but_four_needs_a_login(self) -> None:
        """The predecessor's fault: GraphQL reads and three subscriptions needed no login.

        docs/predecessor-faults.md#fault-13
        """
        id = f'"{self.ann}"'
        for kind, field in (
            ("query", f"user(id: {id}) {{ id }}"),
            ("query", "users { cursor }"),
            ("query", "me { id }"),
            ("query", f"message(id: {id}) {{ id }}"),
            ("query", "messages { cursor }"),
            ("query", f"userMessages(userId: {id}) {{ cursor }}"),
            ("query", 'channelMessages(channelId: "c") { cursor }'),
            ("mutation", 'updateUser(input: {name: "Eve"}) { id }'),
            ("mutation", "deleteUser"),
            ("query", "sessions { id }"),
            ("mutation", "logout"),
            ("mutation", "logoutAll"),
            ("mutation", f"revokeSession(id: {id})"),
            ("mutation", 'sendMessage(input: {content: "x", channelId: "c"}) { id }'),
            ("mutation", f"deleteMessage(id: {id})"),
            ("mutation", 'publish(topic: "t") { topic }'),
        ):
            self.assertEqual(self.codes(f"{kind} {{ {field} }}"), ["UNAUTHORIZED"], field)
        for field in (
            "userCreated { id }",
            f"userUpdated(userId: {id}) {{ id }}",
            "messageSent { id }",
            f"messageToUser(userId: {id}) {{ id }}",
            'topic(pattern: "t") { topic }',
        ):
            (_, (event, payload), end) = self.follow(f"subscription {{ {field} }}", None).events
            self.assertEqual(payload["errors"][0]["extensions"]["code"], "UNAUTHORIZED", field)

    def test_a_bad_token_is_only_told_where_one_is_needed(self) -> None:
        """A client that asks for `refresh` sends its expired token along."""
        for header in ("Bearer forged", "Basic YQ==", "Bearer "):
            result = self.post({"query": "{ health { status } me { id } }"}, Authorization=header).answer.json
            self.assertEqual(result["data"], {"health": {"status": "degraded"}, "me": None})
            self.assertEqual(result["errors"][0]["extensions"], {"code": "UNAUTHORIZED", "status": 401})
        self.assertEqual(result["errors"][0]["message"], "Authorization must be: Bearer <token>")

    def test_what_a_login_shows_is_public_only(self) -> None:
        """The way from `login` to messages is closed: nobody is known yet."""
        result = self.ask(
            "mutation($e: String!, $p: String!) { login(email: $e, password: $p) { user { name messages { cursor } } } }",
            e="ann@example.org",
            p=PASSWORD,
        )
        self.assertEqual(result["errors"][0]["path"], ["login", "user", "messages"])


class AccountTests(ServerCase):
    REGISTER = """mutation($input: RegisterInput!) {
        register(input: $input) { user { id name email } token expiresIn refreshToken } }"""

    def test_register_login_refresh(self) -> None:
        fields = {"email": "eve@example.org", "name": "Eve", "password": PASSWORD}
        result = self.ask(self.REGISTER, input=fields)
        eve = result["data"]["register"]
        self.assertEqual(
            (eve["user"]["name"], eve["token"], eve["expiresIn"], result["extensions"]),
            ("Eve", f"token-{eve['user']['id']}", "15m", {"cursor": "t.3"}),
        )
        login = 'mutation($p: String!) { login(email: "EVE@example.org", password: $p) { user { id } refreshToken } }'
        self.assertEqual(self.data(login, p=PASSWORD)["login"]["user"]["id"], eve["user"]["id"])
        refresh = "mutation($t: String!) { refresh(refreshToken: $t) { token } }"
        self.assertEqual(self.data(refresh, t=eve["refreshToken"])["refresh"]["token"], eve["token"])
        self.assertEqual(self.codes(login, p="wrong"), ["UNAUTHORIZED"])
        self.assertEqual(self.codes(refresh, t="wrong"), ["UNAUTHORIZED"])
        self.assertEqual(self.codes(self.REGISTER, input=fields), ["CONFLICT"])

    def test_all_faults_of_an_input_are_listed(self) -> None:
        fields = {"email": "nobody", "name": "7", "password": "short"}
        (error,) = self.ask(self.REGISTER, input=fields)["errors"]
        paths = {fault["path"][0] for fault in error["extensions"]["details"]["errors"]}
        self.assertEqual((error["message"], paths), ("Validation failed", {"email", "name", "password"}))

    def test_logins_that_fail_are_counted_by_address(self) -> None:
        """Aliases and batches don't get around it: it is checked for each field.  A refresh token can't be guessed."""
        failures = RateLimit(3, 900.0, clock=self.clock)
        self.sessions._login_throttle = LoginThrottle(
            self.clock, self.clock.seconds, self.store, failures_by_address=failures
        )
        self.accounts._login_throttle = self.sessions._login_throttle
        attempt = 'login(email: "a", password: "b") { token }'
        codes = self.codes(f"mutation {{ a: {attempt} }}") + self.codes(f"mutation {{ a: {attempt} }}")
        codes += self.codes(f"mutation {{ a: {attempt} b: {attempt} }}")
        codes += self.codes(self.REGISTER, input={"email": "nobody", "name": "7", "password": "short"})
        codes += self.codes('mutation { refresh(refreshToken: "x") { token } }')
        self.assertEqual(codes, ["UNAUTHORIZED"] * 3 + ["RATE_LIMITED", "UNAUTHORIZED"])
        self.assertEqual(list(failures._windows), ["192.0.2.1"])
        self.assertEqual(self.requests, [("192.0.2.1", None)])  # the refresh that failed

    def test_sessions_are_listed_and_ended(self) -> None:
        """One of one's own; another's is like none; then all."""
        fields = {"email": "Ann@example.org", "password": PASSWORD}
        for _ in range(3):
            self.data("mutation($email: String!, $password: String!) { login(email: $email, password: $password) { token } }", **fields)  # fmt: skip
        listed = self.data("{ sessions { id createdAt lastUsedAt expiresAt current address client } }", self.ann)["sessions"]  # fmt: skip
        self.assertEqual(
            [(each["current"], each["address"], each["client"]) for each in listed],
            [(False, "192.0.2.1", None)] * 3 + [(True, "192.0.2.1", "curl/8")],
        )
        end = "mutation($id: ID!) { revokeSession(id: $id) }"
        id = listed[0]["id"]
        self.assertEqual(self.codes(end, self.bob, id=id), ["NOT_FOUND"])
        self.assertEqual(self.codes(end, self.ann, id="x"), ["VALIDATION_ERROR"])
        self.assertEqual(self.data(end, self.ann, id=id), {"revokeSession": True})
        self.assertEqual(self.codes(end, self.ann, id=id), ["NOT_FOUND"])
        self.assertEqual(len(self.data("{ sessions { id } }", self.ann)["sessions"]), 3)
        self.assertEqual(self.data("mutation { logoutAll }", self.ann), {"logoutAll": True})
        self.assertEqual(self.codes("{ sessions { id } }", self.ann), ["UNAUTHORIZED"])

    def test_logging_out_ends_what_lives_on_the_session(self) -> None:
        following = self.follow("subscription { userCreated { id } }", self.ann)
        self.assertEqual(self.data("mutation { logout }", self.ann), {"logout": True})
        self.turn()
        (_, (event, payload), end) = following.events
        self.assertEqual(payload["errors"][0]["message"], "Token revoked")

    def test_update_and_delete_oneself(self) -> None:
        result = self.ask('mutation { updateUser(input: {name: "Anna"}) { id name } }', self.ann)
        self.assertEqual(
            result,
            {"data": {"updateUser": {"id": self.ann, "name": "Anna"}}, "extensions": {"cursor": "t.3"}},
        )
        self.assertEqual(
            self.codes("mutation { updateUser(input: {}) { id } }", self.ann), ["VALIDATION_ERROR"]
        )
        self.assertEqual(
            self.ask(f"mutation {{ {DELETE_USER} }}", self.ann),
            {"data": {"deleteUser": True}, "extensions": {"cursor": "t.4"}},
        )
        self.assertEqual(self.codes("{ me { id } }", self.ann), ["UNAUTHORIZED"])


class MessageTests(ServerCase):
    SEND = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { id userId content channelId recipientId user { name } recipient { name } } }"

    def test_send_and_withdraw(self) -> None:
        result = self.ask(self.SEND, self.ann, input={"content": "psst", "recipientId": self.bob})
        sent = result["data"]["sendMessage"]
        self.assertEqual(
            sent,
            {
                "id": sent["id"],
                "userId": self.ann,
                "content": "psst",
                "channelId": None,
                "recipientId": self.bob,
                "user": {"name": "Ann"},
                "recipient": {"name": "Bob"},
            },
        )
        self.assertEqual(result["extensions"], {"cursor": "t.3"})
        delete = "mutation($id: ID!) { deleteMessage(id: $id) }"
        self.assertEqual(self.codes(delete, self.bob, id=sent["id"]), ["FORBIDDEN"])
        self.assertEqual(
            self.ask(delete, self.ann, id=sent["id"].upper()),  # in any case, as everywhere
            {"data": {"deleteMessage": True}, "extensions": {"cursor": "t.4"}},
        )
        self.assertEqual(self.codes(delete, self.ann, id=sent["id"]), ["NOT_FOUND"])

    def test_refusals_keep_their_names(self) -> None:
        """The predecessor's fault: every GraphQL error read "Unexpected error".

        docs/predecessor-faults.md#fault-18
        """
        for fields, code in (
            ({"content": "x"}, "VALIDATION_ERROR"),
            ({"content": "", "channelId": "c"}, "VALIDATION_ERROR"),
            ({"content": "x", "recipientId": MISSING}, "NOT_FOUND"),
        ):
            self.assertEqual(self.codes(self.SEND, self.ann, input=fields), [code])

    def test_a_direct_message_is_unseen_by_others(self) -> None:
        """Every field that could lead to it."""
        eve = self.user("Eve").id
        message = self.message(self.ann, "psst", recipientId=self.bob, channelId="c")
        query = f"""query($id: ID!, $ann: ID!) {{
            message(id: $id) {{ content }} messages {{ {PAGE} }} userMessages(userId: $ann) {{ {PAGE} }}
            channelMessages(channelId: "c") {{ {PAGE} }} user(id: $ann) {{ messages {{ {PAGE} }} }}
        }}"""
        for who, visible in ((self.ann, 1), (self.bob, 1), (eve, 0)):
            data = self.ask(query, who, id=message.id, ann=self.ann)["data"]
            self.assertEqual(data["message"], {"content": "psst"} if visible else None)
            for page in (
                data["messages"],
                data["userMessages"],
                data["channelMessages"],
                data["user"]["messages"],
            ):
                self.assertEqual((len(page["edges"]), page["pageInfo"]["total"]), (visible, visible))

    def test_publish(self) -> None:
        query = """mutation($data: JSON, $metadata: JSON) {
            publish(topic: "room.1", data: $data, metadata: $metadata) { topic data metadata timestamp cursor } }"""
        forged = {"x": 1, "senderId": "forged", "senderConnectionId": "forged"}
        result = self.ask(query, self.ann, data={"a": [1, None]}, metadata=forged)
        self.assertEqual(
            result,
            {
                "data": {
                    "publish": {
                        "topic": "room.1",
                        "data": {"a": [1, None]},
                        "metadata": {"x": 1, "senderId": self.ann},
                        "timestamp": "2027-01-15T08:00:00.000Z",
                        "cursor": None,
                    }
                }
            },
        )
        self.assertEqual(self.codes(query, self.ann, metadata=[1]), ["VALIDATION_ERROR"])
        for topic, code in (("users", "FORBIDDEN"), ("a..b", "VALIDATION_ERROR")):
            self.assertEqual(
                self.codes(f'mutation {{ publish(topic: "{topic}") {{ topic }} }}', self.ann), [code]
            )

    def test_json_in_the_document_is_as_strict_as_in_a_body(self) -> None:
        publish = 'mutation {{ publish(topic: "t", data: {}) {{ data }} }}'
        literal = '{a: [1, 2.5, "x", true, null, WORD], b: {}}'
        self.assertEqual(
            self.data(publish.format(literal), self.ann)["publish"]["data"],
            {"a": [1, 2.5, "x", True, None, "WORD"], "b": {}},
        )
        for literal in ("1e999", "9" * 5000, "[" * 70 + "]" * 70):
            self.assertEqual(self.codes(publish.format(literal), self.ann), ["GRAPHQL_VALIDATION_FAILED"])

    def test_variables_within_json_in_the_document(self) -> None:
        query = 'mutation($x: JSON) { publish(topic: "t", data: {a: [$x, 1], b: $x}) { data } }'
        value = {"y": [1, None]}
        for variables, x in (({"x": value}, value), ({"x": None}, None), ({}, None)):
            data = self.data(query, self.ann, **variables)["publish"]["data"]
            self.assertEqual(data, {"a": [x, 1], "b": x})

    def test_an_endless_number_is_refused_without_detail(self) -> None:
        (error,) = self.ask("{ messages(limit: %s) { cursor } }" % ("9" * 5000), self.ann)["errors"]
        self.assertEqual(error["message"], "This literal does not fit its type")
        self.assertEqual(error["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED")
        self.assertEqual(error["locations"], [{"line": 1, "column": 19}])

    def test_a_repeated_send_has_one_effect(self) -> None:
        """And one answer; another body under the same key is a conflict."""
        send = 'mutation {{ sendMessage(input: {{content: "{}", channelId: "c"}}, idempotencyKey: "k") {{ id }} }}'
        first, again = (self.data(send.format("x"), self.ann) for _ in range(2))
        self.assertEqual(first, again)
        self.assertEqual(self.codes(send.format("y"), self.ann), ["CONFLICT"])
        total = "{ messages { pageInfo { total } } }"
        self.assertEqual(self.data(total, self.ann), {"messages": {"pageInfo": {"total": 1}}})

    def test_what_is_no_key(self) -> None:
        for field in (
            'sendMessage(input: {content: "x", channelId: "c"}, idempotencyKey: "") { id }',
            'publish(topic: "t", idempotencyKey: "%s") { topic }' % ("k" * 129),
        ):
            self.assertEqual(self.codes(f"mutation {{ {field} }}", self.ann), ["VALIDATION_ERROR"])


class StatementTests(ServerCase):
    """The predecessor's fault: a query per message for its author (docs/predecessor-faults.md#fault-25)."""

    QUERY = """{ users(limit: 5) { edges { node { name
        messages(limit: 4) { edges { node { content user { name } recipient { name } } } } } } } }"""

    def test_their_number_does_not_grow_with_the_lists(self) -> None:
        users = [self.user(name).id for name in ("Eve", "Dan", "Cleo")]
        for author in (*users, self.ann, self.bob):
            for n in range(4):
                self.message(author, f"{n}", **({"channelId": "c"} if n % 2 else {"recipientId": self.ann}))
        self.store.reads.clear()
        page = self.data(self.QUERY, self.ann)["users"]["edges"]
        self.assertEqual(len(page), 5)
        for edge in page:
            for message in edge["node"]["messages"]["edges"]:
                self.assertEqual(message["node"]["user"]["name"], edge["node"]["name"])
        self.assertEqual(
            self.store.reads,
            [
                "users_page",
                "users_count",
                "messages_of_users_page",
                "messages_of_users_count",
                "users_by_ids",
            ],
        )

    def test_the_messages_of_nobody(self) -> None:
        """The same error as for the account itself."""
        for query in ("user(id: $id) { id }", "userMessages(userId: $id) { cursor }"):
            self.assertEqual(
                self.codes(f"query ($id: ID!) {{ {query} }}", self.ann, id=MISSING), ["NOT_FOUND"], query
            )

    def test_cursors_on_every_list(self) -> None:
        """What an edge or `pageInfo` names; `page: 1`, which the schema fills in, is no contradiction."""
        for n in range(3):
            self.message(self.ann, str(n), channelId="c")
        lists = (
            ("messages(%s)", "messages"),
            (f'userMessages(userId: "{self.ann}", %s)', "userMessages"),
            ('channelMessages(channelId: "c", %s)', "channelMessages"),
        )

        def page(field: str, name: str, arguments: str) -> tuple[list[str], Any]:
            found = self.data(
                f"{{ {field % arguments} {{ edges {{ node {{ content }} cursor }} pageInfo {{ before after }} }} }}",
                self.bob,
            )[name]
            self.cursors = [edge["cursor"] for edge in found["edges"]]
            return [edge["node"]["content"] for edge in found["edges"]], found["pageInfo"]

        for field, name in lists:
            first, info = page(field, name, "limit: 2")
            middle = self.cursors[-1]
            self.assertEqual((first, info), (["2", "1"], {"before": middle, "after": self.cursors[0]}))
            rest, last = page(field, name, f'before: "{info["before"]}", page: 1')
            self.assertEqual((rest, last["before"]), (["0"], None))
            self.assertEqual(page(field, name, f'after: "{middle}"')[0], ["2"])
            self.assertEqual(
                page(field, name, f'after: "{info["after"]}"'),
                ([], {"before": f"{info['after']}~", "after": info["after"]}),
            )
            self.assertEqual(page(field, name, f'before: "{info["after"]}~"')[0], ["2", "1", "0"])
        data = self.data(
            f"""{{ users(before: "t.2") {{ edges {{ node {{ name
                 new: messages(limit: 5, after: "{middle}") {{ edges {{ node {{ content }} }} }}
                 old: messages(limit: 5, before: "{middle}") {{ edges {{ node {{ content }} }} }} }} }} }} }}""",
            self.bob,
        )
        self.assertEqual(
            data["users"]["edges"],
            [
                {
                    "node": {
                        "name": "Ann",
                        "new": {"edges": [{"node": {"content": "2"}}]},
                        "old": {"edges": [{"node": {"content": "0"}}]},
                    }
                }
            ],
        )
        for arguments, path in (
            ('before: "x"', "before"),
            ('after: "t.99"', "after"),
            ('before: "t.1", after: "t.1"', "after"),
            ('before: "t.1", page: 2', "page"),
        ):
            for field in [*(field for field, _ in lists), "users(%s)"]:
                result = self.ask(f"{{ {field % arguments} {{ cursor }} }}", self.bob)
                extensions = result["errors"][0]["extensions"]
                self.assertEqual(extensions["code"], "VALIDATION_ERROR")
                self.assertEqual([error["path"] for error in extensions["details"]["errors"]], [[path]])

    def test_pages_of_two_sizes_are_two_reads(self) -> None:
        self.store.reads.clear()
        self.data(
            "{ users { edges { node { a: messages(limit: 1) { cursor } b: messages { cursor } } } } }",
            self.ann,
        )
        self.assertEqual(self.store.reads.count("messages_of_users_page"), 2)

    def test_a_mutation_never_reads_what_it_replaced(self) -> None:
        """Nothing is kept between the fields of one request."""
        send = 'sendMessage(input: {content: "x", channelId: "c"}) { user { name } }'
        data = self.data(
            f'mutation {{ a: {send} updateUser(input: {{name: "Anna"}}) {{ id }} b: {send} }}', self.ann
        )
        self.assertEqual((data["a"]["user"]["name"], data["b"]["user"]["name"]), ("Ann", "Anna"))


class FailureTests(ServerCase):
    def test_a_bug_is_logged_whole_and_told_without_detail(self) -> None:
        self.store.failures["user_by_id"] = KeyError("the secret reason")
        result = self.ask('{ me { id } user(id: "%s") { id } }' % self.bob, self.ann)
        for error in result["errors"]:
            self.assertEqual(
                (error["message"], error["extensions"]),
                ("Internal server error", {"code": "INTERNAL_ERROR", "status": 500}),
            )
        self.assertNotIn("secret", str(result))
        self.assertEqual(
            [f.value.args for f in self.flushLoggedErrors(KeyError)], [("the secret reason",)] * 2
        )

    def test_a_store_that_is_away(self) -> None:
        self.store.failures["users_page"] = Unavailable("The database is away")
        query = "{ users { edges { node { id } } } }"
        self.assertEqual(
            self.ask(query, self.ann),
            {
                "errors": [
                    {
                        "message": "The database is away",
                        "extensions": {"code": "SERVICE_UNAVAILABLE", "status": 503},
                        "locations": [{"line": 1, "column": 3}],
                        "path": ["users"],
                    }
                ],
                "data": None,
            },
        )

    def test_what_fails_in_a_batch_fails_for_all_who_wait_for_it(self) -> None:
        first, second = self.message(self.ann, channelId="c"), self.message(self.bob, channelId="c")
        self.store.failures["users_by_ids"] = Unavailable("The database is away")
        query = "query($a: ID!, $b: ID!) { a: message(id: $a) { user { id } } b: message(id: $b) { user { id } } }"
        result = self.ask(query, self.ann, a=first.id, b=second.id)
        self.assertEqual([error["extensions"]["status"] for error in result["errors"]], [503, 503])
        self.assertEqual(result["data"], {"a": None, "b": None})

    def test_each_operation_is_observed(self) -> None:
        self.observed.clear()
        self.ask("query MyName { me { id } }", self.ann)
        self.ask("mutation { deleteUser }")
        self.ask("{ nope }")
        self.ask("{")
        self.assertEqual(
            self.observed,
            [
                ("query", "other", "success", 0.0, []),
                ("mutation", "other", "error", 0.0, ["UNAUTHORIZED"]),
                ("other", "other", "rejected", 0.0, ["GRAPHQL_VALIDATION_FAILED"]),
                ("other", "other", "rejected", 0.0, ["GRAPHQL_PARSE_FAILED"]),
            ],
        )


class QuotingTests(ServerCase):
    """An error names what is wrong with a request and repeats no value: it may be a password."""

    LOGIN = 'mutation($p: String!) { login(email: "ann@example.org", password: $p) { token } }'
    REGISTER = "mutation($input: RegisterInput!) { register(input: $input) { expiresIn } }"

    def told(self, query: str, **variables: Any) -> list[str]:
        return [error["message"] for error in self.ask(query, **variables)["errors"]]

    def test_literals(self) -> None:
        no_string = "String cannot represent a non string value"
        for login, said in (
            ('login(email: "a", password: {a: "cAn4ry"})', [no_string]),
            ('login(email: "a", password: cAn4ry)', [no_string]),
            ('login(email: "a", password: ["""cAn4ry"""])', [no_string]),
            ('login(email: "a" "cAn4ry")', ["Syntax Error: Expected Name, found String."]),
            ('login(email: "a" """cAn\'4ry""")', ["Syntax Error: Expected Name, found BlockString."]),
            ('login(email: "a" password: 1 2)', ["Syntax Error: Expected Name, found Int."]),
        ):
            self.assertEqual(self.told("mutation { %s { token } }" % login), said, login)

    def test_literals_of_objects(self) -> None:
        for fields, said in (
            (
                '{email: "a", name: "b", passwort: "cAn4ry"}',
                "not to include unknown field 'passwort'. Did you mean 'password'?",
            ),
            ('{email: "a", password: "cAn4ry"}', "to include required field 'name'."),
            ('"cAn4ry"', "to be an object."),
        ):
            [*_, last] = self.told("mutation { register(input: %s) { expiresIn } }" % fields)
            self.assertEqual(last, f"Expected value of type 'RegisterInput' {said}")

    def test_variables(self) -> None:
        for value in ({"a": "cAn4ry"}, ["cAn4ry"]):
            said = "Variable '$p' has invalid value: String cannot represent a non string value"
            self.assertEqual(self.told(self.LOGIN, p=value), [said])

    def test_variables_that_are_objects(self) -> None:
        for value in (
            "cAn4ry",
            {"password": "cAn4ry"},
            {"passwort": "cAn4ry"},
            {"password": [{"b": "cAn4ry"}]},
        ):
            said = self.told(self.REGISTER, input=value)
            self.assertTrue(said)
            self.assertNotIn("cAn4ry", "".join(said))
