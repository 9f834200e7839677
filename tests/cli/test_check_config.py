"""What an operator is told of a configuration without starting the server."""

from __future__ import annotations

import io
import resource
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from multiproto.cli.check_config import main
from multiproto.config.load import iter_settings
from multiproto.config.risks import RISKS
from tests.certificates import Authority

OPERATOR = "01a2055d-524a-7000-a3d1-dfd42086fed8"
SECRET = "hT4kq0ZpXr9wB2mN7vC1sL6dJ3fG8yAe"
RULES = '[{"match": "a", "allow": []}]'


class CheckConfigCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.patch(resource, "getrlimit", lambda kind: (1024, 65536))
        files = Authority().write(self.folder, "example.org", timedelta(days=60))
        self.certificate, self.key = files.certificate, files.key
        self.key.chmod(0o600)
        self.safe = {  # in production
            "APP_ENV": "production",
            "TLS_CERT_FILE": str(self.certificate),
            "TLS_KEY_FILE": str(self.key),
            "OPERATORS": OPERATOR,
            "REGISTRATION": "closed",
            "PROFILE_EMAIL": "self",
            "RULES": RULES,
            "DATA_DIR": str(self.folder / "data"),
        }

    def check(self, *arguments: str, **environ: str) -> tuple[int, list[str]]:
        """The exit status, and the lines."""
        with redirect_stdout(io.StringIO()) as out:
            try:
                status = main(arguments, environ, self.folder)
            except SystemExit as end:
                status = int(end.code or 0)
        return status, out.getvalue().splitlines()


class RiskTests(CheckConfigCase):
    def risks(self, *arguments: str, **environ: str) -> list[str]:
        """The settings that are risky, in what is safe but for `environ`; "" unsets one."""
        status, lines = self.check(*arguments, **{**self.safe, **environ})
        found = [line.removeprefix("risk: ") for line in lines if line.startswith("risk: ")]
        self.assertEqual(status, 1 if found else 0, lines)
        return [line.split(" ")[0] for line in found]

    def test_none(self) -> None:
        status, lines = self.check(**self.safe)
        self.assertEqual(status, 0)
        self.assertEqual(
            lines,
            [
                "the server would start, in production: HTTP on 0.0.0.0 port 3000 with TLS, TCP on 0.0.0.0 port 3001 "
                f"with TLS, metrics on 127.0.0.1 port 9090, data in {self.folder}/data, live topics within one instance"
            ],
        )

    def test_each(self) -> None:
        """All of the table, and those beside it."""
        proxied = {"TLS_CERT_FILE": "", "TLS_KEY_FILE": "", "TRUSTED_PROXIES": "10.0.0.0/8"}
        redis = {"REDIS_URL": "rediss://:pw@cache.example.org", "JWT_SECRET": SECRET}
        postgresql = "postgresql://u:p@db.example.org/d"
        tried: list[str] = []
        for name, given in (
            ("TLS_CERT_FILE", {"TLS_CERT_FILE": "", "TLS_KEY_FILE": ""}),
            ("TCP_HOST", proxied),
            ("TRUSTED_PROXIES", {"TRUSTED_PROXIES": "0.0.0.0/0"}),
            ("METRICS_HOST", {"METRICS_HOST": "10.0.0.1"}),
            ("OPERATORS", {"OPERATORS": ""}),
            ("OPERATORS", {"OPERATORS": f"{OPERATOR},root@example.org"}),
            ("REGISTRATION", {"REGISTRATION": "open"}),
            ("PROFILE_EMAIL", {"PROFILE_EMAIL": "everyone"}),
            ("RULES", {"RULES": ""}),
            ("CORS_ORIGINS", {"CORS_ORIGINS": "*"}),
            ("CORS_ORIGINS", {"CORS_ORIGINS": "https://a.example,http://b.example"}),
            ("GRAPHQL_PLAYGROUND_ENABLED", {"GRAPHQL_PLAYGROUND_ENABLED": "true"}),
            ("WEBSOCKET_ECHO_ENABLED", {"WEBSOCKET_ECHO_ENABLED": "true"}),
            ("HELMET_ENABLED", {"HELMET_ENABLED": "false"}),
            ("CONNECT_RATE", {"CONNECT_RATE": "none"}),
            ("COMMAND_RATE", {"COMMAND_RATE": "none"}),
            ("PUBLISH_RATE", {"PUBLISH_RATE": "none"}),
            ("BYTE_RATE", {"BYTE_RATE": "none"}),
            ("LOG_LEVEL", {"LOG_LEVEL": "trace"}),
            ("DATA_DIR", {"DATA_DIR": "data"}),
            ("DATABASE_URL", {"DATABASE_URL": f"{postgresql}?sslmode=prefer", "JWT_SECRET": SECRET}),
            ("DB_HOST", {"DB_HOST": "db.example.org", "JWT_SECRET": SECRET}),
            ("REDIS_URL", {**redis, "REDIS_URL": "redis://:pw@cache.example.org"}),
            ("REDIS_URL", {**redis, "REDIS_URL": "rediss://cache.example.org"}),
            ("PUBSUB_REDIS_URL", {**redis, "PUBSUB_REDIS_URL": "redis://:pw@10.0.0.9"}),
            ("JWT_SECRET", {"JWT_SECRET": "at-least-32-characters-the-same-on-all-instances"}),
            ("JWT_SECRET", {"JWT_SECRET": "12345678" * 4}),
        ):
            self.assertEqual(self.risks(**given), [name], given)
            tried.append(name)
        self.assertEqual({risk.name for risk in RISKS} - set(tried), set())
        self.assertEqual({risk.name for risk in RISKS} - {row.name for row, _ in iter_settings()}, set())

    def test_what_is_none_of_them(self) -> None:
        local = {"HOST": "127.0.0.1", "TLS_CERT_FILE": "", "TLS_KEY_FILE": ""}  # TCP_HOST follows
        for given in (
            local,
            {"CORS_ORIGINS": "https://a.example,http://localhost:5173"},
            {"TCP_ENABLED": "false", "TRUSTED_PROXIES": "10.0.0.5", "TLS_CERT_FILE": "", "TLS_KEY_FILE": ""},
            {"METRICS_HOST": "0.0.0.0", "METRICS_ENABLED": "false"},
            {
                "DATABASE_URL": "postgresql://u:p@db/d?sslmode=verify-full",
                "JWT_SECRET": SECRET,
                "DATA_DIR": "",
            },
            {"DATABASE_URL": "postgresql:///d?host=/var/run/postgresql", "JWT_SECRET": SECRET},
            {"REDIS_URL": "redis://:pw@127.0.0.1", "JWT_SECRET": "0123456789abcdef" * 2},
        ):
            self.assertEqual(self.risks(**given), [], given)

    def test_secrets_that_others_can_read(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(SECRET)
        for mode, found in ((0o600, []), (0o640, []), (0o644, ["JWT_SECRET"])):
            secret.chmod(mode)
            self.assertEqual(self.risks(JWT_SECRET_FILE=str(secret)), found)
        self.assertEqual(self.risks("--set", f"JWT_SECRET={SECRET}"), ["JWT_SECRET"])
        file = self.folder / "m.toml"
        file.write_text(f"jwt_secret = '{SECRET}'")
        file.chmod(0o644)
        self.assertEqual(self.risks("--config", str(file)), ["jwt_secret"])
        self.key.chmod(0o644)
        self.assertEqual(self.risks(), ["TLS_KEY_FILE"])

    def test_a_certificate_that_expires(self) -> None:
        for days, found in ((15, []), (13, ["TLS_CERT_FILE"]), (-1, ["TLS_CERT_FILE"])):
            Authority().write(self.folder, "example.org", timedelta(days=days))
            self.key.chmod(0o600)
            self.assertEqual(self.risks(), found, days)

    def test_descriptors(self) -> None:
        for limit, found in ((4096, []), (4095, ["file"]), (resource.RLIM_INFINITY, [])):
            self.patch(resource, "getrlimit", lambda kind, limit=limit: (1024, limit))
            self.assertEqual(self.risks(), found, limit)

    def test_a_dotenv_that_is_not_read(self) -> None:
        (self.folder / ".env").write_text("PORT=1")
        self.assertEqual(self.risks(), [f"{self.folder}/.env:"])

    def test_staging_has_them_and_development_has_none(self) -> None:
        self.assertEqual(self.check(APP_ENV="staging")[0], 1)
        status, lines = self.check()
        self.assertEqual(
            (status, lines[-1]), (0, "risks are looked for in production only: --env production")
        )

    def test_a_name_that_is_nearly_a_setting(self) -> None:
        """Wherever the server is to run, and beside errors."""
        line = "risk: API_ENV (environment) is no setting, and is ignored; if APP_ENV is meant, correct it, and if"
        for environ, status in (({}, 1), ({"PORT": "x"}, 2)):
            found, lines = self.check(API_ENV="test", **environ)
            self.assertEqual(
                (found, [each for each in lines if each.startswith(line)]),
                (status, lines[-3:-2] if status == 1 else lines[-2:-1]),
            )

    def test_no_secret_is_told(self) -> None:
        password = "pw-hunter2"
        _, lines = self.check(
            "--set",
            f"DATABASE_URL=postgresql://u:{password}@db/d",
            APP_ENV="production",
            JWT_SECRET=password * 4,
            REDIS_URL=f"redis://:{password}@h",
        )
        self.assertGreater(len(lines), 4)
        self.assertNotIn(password, "\n".join(lines))


class ErrorTests(CheckConfigCase):
    def test_all_that_the_server_would_say(self) -> None:
        file = self.folder / "m.toml"
        file.write_text("prot = 1")
        self.assertEqual(
            self.check("--config", str(file), PORT="x"),
            (
                2,
                [
                    f"error: prot ({file}:1) is no setting; the nearest is port",
                    "error: PORT (environment) must be a whole number from 1 to 65535, not 'x'",
                    "the server would not start: 2 errors",
                ],
            ),
        )

    def test_files_that_settings_name(self) -> None:
        """In the words of the start; nothing is written."""
        here = self.folder / "data"
        here.write_text("no directory")
        nowhere = str(self.folder / "none")
        self.certificate.write_text("no certificate")
        status, lines = self.check(
            TLS_CERT_FILE=str(self.certificate),
            TLS_KEY_FILE=str(self.key),
            JWT_PRIVATE_KEY_FILE=nowhere,
            REDIS_URL="rediss://h",
            REDIS_CA_FILE=nowhere,
            JWT_SECRET=SECRET,
            DATA_DIR=str(here),
        )
        self.assertEqual(
            (status, lines),
            (
                2,
                [
                    f"error: TLS_CERT_FILE {self.certificate}: holds no certificate in PEM",
                    f"error: JWT_PRIVATE_KEY_FILE ({nowhere}) can't be read: No such file or directory",
                    f"error: REDIS_CA_FILE {nowhere}: can't be read",
                    f"error: DATA_DIR {here}: is no directory",
                    "the server would not start: 4 errors",
                ],
            ),
        )

    def test_a_directory_that_can_not_be_made(self) -> None:
        here = self.folder / "file"
        here.write_text("no directory")
        for directory in (here / "data", here / "a" / "b"):
            status, lines = self.check(DATA_DIR=str(directory))
            self.assertEqual(
                (status, lines[0]), (2, f"error: DATA_DIR {directory}: can't be made: {here} is no directory")
            )
        self.assertEqual(self.check(DATA_DIR=str(self.folder / "a" / "b"))[0], 0)

    def test_all_in_one_round(self) -> None:
        """Files beside settings that can't be read; a setting that is wrong itself is told once."""
        nowhere = str(self.folder / "none")
        here = self.folder / "data"
        here.write_text("no directory")
        toml = self.folder / "none.toml"
        status, lines = self.check(
            "--config",
            str(toml),
            TLS_CERT_FILE=nowhere,
            TLS_KEY_FILE=nowhere,
            JWT_EXPIRES_IN="1",
            DATA_DIR=str(here),
        )
        self.assertEqual(
            (status, lines),
            (
                2,
                [
                    f"error: --config ({toml}) can't be read: No such file or directory",
                    "error: JWT_EXPIRES_IN (environment) must be a time from 1s to 30d, such as 30s, 15m, 12h or 7d, "
                    "not '1 ms'",
                    f"error: TLS_CERT_FILE {nowhere}: can't be read: No such file or directory",
                    f"error: TLS_KEY_FILE {nowhere}: can't be read: No such file or directory",
                    f"error: DATA_DIR {here}: is no directory",
                    "the server would not start: 5 errors",
                ],
            ),
        )
        status, lines = self.check(TLS_CERT_FILE=nowhere)
        self.assertEqual((status, len(lines)), (2, 2), lines)

    def test_public_keys_beside_a_secret_that_the_server_makes(self) -> None:
        keys = self.folder / "known.pem"
        keys.write_text("none")
        status, lines = self.check(JWT_PUBLIC_KEY_FILES=str(keys), DATA_DIR=str(self.folder / "data"))
        self.assertEqual((status, lines[0].startswith("error: JWT_PUBLIC_KEY_FILES (")), (2, True))
        self.assertFalse((self.folder / "data").exists())

    def test_options(self) -> None:
        for arguments in (("--prot", "1"), ("--set", "PORT"), ("--set", "PORT=1", "--port", "2")):
            status, lines = self.check(*arguments)
            self.assertEqual((status, len(lines), lines[0][:6]), (2, 1, "error:"))
        status, lines = self.check("--help")
        self.assertEqual(status, 0)
        for word in ("--config", "risk    ", "The exit status is 0", "docs/operations.md#before-production"):
            self.assertIn(word, "\n".join(lines))
