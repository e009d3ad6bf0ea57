"""People: a second factor, sign-in through an identity provider, and the audit log's export."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from pages_support import PASSWORD, Visitor, let_in
from typer.testing import CliRunner
from waiting import WAIT_S

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cli.app import app
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.accounts import second_factor, users
from ivota_tools.cloud.accounts.identity_provider import Flow, IdentityProvider, ProviderError
from ivota_tools.cloud.store import future_dates
from ivota_tools.cloud.store.models import Audit, SignIn, User
from ivota_tools.toolchain import node_packages
from ivota_workshop.bench.operations import oidc_sign_in
from ivota_workshop.bench.operations.oidc_sign_in import SECRET

ROLES = {"ops": "operator", "leads": "admin", "everyone": "viewer"}


@pytest.fixture
def cloud(tmp_path):
    with Cloud(tmp_path / "c") as running:
        let_in(running, "admin", "operator")
        yield running


def user(cloud: Cloud, name: str) -> User:
    with cloud.database.reading() as session:
        return session.scalars(sa.select(User).where(User.name == name)).one()


# -- the second factor -----------------------------------------------------------------------


def set_up(visitor: Visitor) -> tuple[pyotp.TOTP, list[str]]:
    visitor.get("/account/second-factor")
    (secret,) = re.findall(r'name="secret" value="([A-Z2-7]{32})"', visitor.page.text)
    assert "<svg" in visitor.page.text
    made = pyotp.TOTP(secret)
    visitor.post("/account/second-factor", 422, secret=secret, code="000 000", password=PASSWORD)
    assert "The code is wrong" in visitor.text
    now = made.at(time.time())
    visitor.post("/account/second-factor", 422, secret=secret, code=now, password="x" * 12)
    assert "current password is wrong" in visitor.text
    text = visitor.post("/account/second-factor", secret=secret, code=now, password=PASSWORD)
    assert "is on" in text
    codes = re.findall(r"<code>([0-9a-f]{10})</code>", visitor.page.text)
    assert len(set(codes)) == second_factor.RECOVERY_CODES
    return made, codes


def ask_code(url: str, name: str = "operator") -> Visitor:
    """A browser that has sent the right password."""
    visitor = Visitor(url)
    assert "Enter your code" in visitor.sign_in(name)
    return visitor


def send(visitor: Visitor, code: str, status: int = 200) -> str:
    (ticket,) = re.findall(r'name="ticket" value="([^"]+)"', visitor.page.text)
    return visitor.post("/sign-in/code", status, ticket=ticket, code=code, next="/campaigns")


def signed_in(visitor: Visitor) -> bool:
    return "/sign-in" not in str(visitor.http.get("/account").url)


def test_a_password_alone_is_not_enough(cloud, monkeypatch):
    clock = time.time()
    monkeypatch.setattr(time, "time", lambda: clock)
    with Visitor(cloud.api_url, "operator") as visitor:
        made, codes = set_up(visitor)
    with ask_code(cloud.api_url) as visitor:
        assert not signed_in(visitor)
        # The code that set it up is used up, and so is every earlier one.
        assert "This code is wrong" in send(visitor, made.at(clock), 401)
        assert "This code is wrong" in send(visitor, made.at(clock - 30), 401)
        assert not signed_in(visitor)
        clock += 30
        later = made.at(clock)
        send(visitor, f"{later[:3]} {later[3:]}")
        assert visitor.page.url.path == "/campaigns" and signed_in(visitor)
    with ask_code(cloud.api_url) as visitor:
        assert "This code is wrong" in send(visitor, later, 401)
        assert "9 recovery codes left" in send(visitor, f" {codes[0].upper()} ")
    with ask_code(cloud.api_url) as visitor:
        send(visitor, codes[0], 401)
        # An app whose clock is slow by less than a minute still works, once.
        clock += 60
        send(visitor, made.at(clock - 30))
        assert signed_in(visitor)
    stored = user(cloud, "operator")
    assert all(code not in (stored.recovery or "") for code in codes)


def test_codes_cannot_be_guessed(cloud):
    with Visitor(cloud.api_url, "operator") as visitor:
        made, codes = set_up(visitor)
    with ask_code(cloud.api_url) as visitor:
        for _ in range(10):
            send(visitor, "123456", 401)
        assert "Too many attempts" in send(visitor, codes[0], 429)
    with ask_code(cloud.api_url) as other:  # from another browser as well
        send(other, codes[0], 429)


def test_a_ticket_is_for_one_user_and_ends(cloud):
    key, now = b"key", 1e9
    with cloud.database.writing() as session:
        found = session.scalars(sa.select(User).order_by(User.id)).all()
        first, second = found[0], found[1]
        ticket = second_factor.ticket(key, first, now)

        def ok(given: str, at: float = now, by: bytes = key) -> bool:
            return second_factor.ticket_user(by, session, given, at) is first

        assert ok(ticket) and ok(ticket, now + second_factor.TICKET_S)
        assert not ok(ticket, now + second_factor.TICKET_S + 1)
        assert not ok(ticket, by=b"other")
        number, until, mark = ticket.split(".")
        for wrong in (
            f"{second.id}.{until}.{mark}", f"{number}.{int(until) + 9}.{mark}", f"{number}",
            f"{number}.{until}", f"{number}.{until}.ü", "", "a.b.c", f"{2**70}.{until}.{mark}",
        ):  # fmt: skip
            assert not ok(wrong)
        users.set_password(session, first, "another sentence", "test")
        assert not ok(ticket)


def test_a_lost_second_factor_is_reset_by_an_admin(cloud, monkeypatch):
    with Visitor(cloud.api_url, "operator") as visitor:
        set_up(visitor)
        assert "10 unused recovery codes" in visitor.get("/account")
    number = user(cloud, "operator").id
    with Visitor(cloud.api_url, "admin") as visitor:
        visitor.get("/people")
        assert "without a second factor" in visitor.post(f"/people/users/{number}/second-factor")
        assert "has no second factor" in visitor.send(f"/people/users/{number}/second-factor")
    with Visitor(cloud.api_url, "operator") as visitor:
        set_up(visitor)
        visitor.get("/account")
        text = visitor.post("/account/second-factor/off", password="wrong password")
        assert "current password is wrong" in text
    monkeypatch.setenv("IVOTA_URL", cloud.api_url)
    monkeypatch.setenv("IVOTA_TOKEN", (cloud.folder / "api.token").read_text().strip())
    done = CliRunner().invoke(app, ["user", "reset-second-factor", "operator", "--yes"])
    assert done.exit_code == 0 and "without a second factor" in done.output
    with Visitor(cloud.api_url, "operator") as visitor:
        assert signed_in(visitor)
    with cloud.database.reading() as session:
        who = session.scalars(sa.select(Audit.who).where(Audit.action == "second factor off"))
        assert list(who) == ["admin", "local"]


def test_a_clock_that_was_ahead_locks_nobody_out(cloud):
    now, ahead = 1e9, 2e9
    app_ = pyotp.TOTP(second_factor.new_secret())
    with cloud.database.writing() as session:
        found = session.scalars(sa.select(User)).first()
        assert found
        second_factor.enable(session, found, app_.secret, app_.at(ahead), ahead)
        assert not second_factor.accept(session, found, app_.at(now), now)
        future_dates.repair(session, now, 60)
        session.refresh(found)
        assert second_factor.accept(session, found, app_.at(now + 30), now + 30) == "app"


# -- the identity provider -------------------------------------------------------------------


def pass_through(visitor: Visitor, account: str, next_: str = "/") -> str:
    """Sign in at the provider as `account`, and agree to everything."""
    visitor.page = oidc_sign_in.pass_through(visitor.http, account, next_)
    return visitor.text


@pytest.mark.skipif(not node_packages.has_node(), reason="this machine has no Node.js")
def test_users_of_a_real_provider(tmp_path):
    def account(name: str, *groups: str, verified: bool = True) -> dict:
        return {"email": name, "email_verified": verified, "groups": groups}

    with oidc_sign_in.provider(tmp_path) as provider:
        issuer, accounts = provider.issuer, provider.accounts
        made = IdentityProvider(issuer, "console", SECRET, ROLES)
        with Cloud(tmp_path / "c", provider=made) as cloud:
            provider.serve(cloud.api_url)
            book = {
                "a1": account("Alice@example.org", "ops", "everyone"),
                "b1": account("bob@example.org", "cooks"),
                "m1": account("admin", "leads"),
                "m2": account("alice@example.org", "leads"),
                "u1": account("eve@example.org", "leads", verified=False),
            }
            accounts.write_text(json.dumps(book))
            with Visitor(cloud.api_url) as visitor:
                assert "Not set up yet" in pass_through(visitor, "a1")  # an owner comes first
            let_in(cloud, "admin")
            with Visitor(cloud.api_url) as visitor:
                assert f"Sign in with {urlsplit(issuer).netloc}" in visitor.get("/sign-in")
                pass_through(visitor, "a1", "/campaigns")
                assert visitor.page.url.path == "/campaigns"
                assert "alice@example.org" in visitor.get("/account")
                assert "operator" in visitor.text and "Change password" not in visitor.text
                assert "Enter your code" not in visitor.get("/account/second-factor")
            for other, words in (
                ("b1", "is not in a group that may use this console"),
                ("m1", "already exists"),
                ("m2", "already exists"),
                ("u1", "has not verified your e-mail"),
            ):
                with Visitor(cloud.api_url) as visitor:
                    assert words in pass_through(visitor, other), other
                    assert visitor.page.url.path == "/sign-in"
            # The name stays, and the role follows the groups at the next sign-in.
            book["a1"] = account("married@example.org", "everyone")
            accounts.write_text(json.dumps(book))
            with Visitor(cloud.api_url) as visitor:
                pass_through(visitor, "a1")
                assert "alice@example.org" in visitor.get("/account")
                visitor.get("/campaigns/new", 403)
            alice = user(cloud, "alice@example.org")
            with cloud.database.writing() as session:
                found = session.get(User, alice.id)
                with pytest.raises(users.UserError, match="the identity provider manages alice"):
                    users.set_password(session, found, PASSWORD, "test")
                with pytest.raises(users.UserError, match="the identity provider.s groups"):
                    users.set_role(session, found, "admin", "test")
                assert users.by_password(session, alice.name, "") is None
                # Half a day later the provider is asked again.
                signed = session.scalars(
                    sa.select(SignIn).where(SignIn.user_id == alice.id)
                ).first()
                assert signed.expires_at == pytest.approx(signed.created_at + 8 * 3600)
                signed.expires_at = time.time() - 1
                changes = sa.select(Audit.who, Audit.action).where(Audit.subject == alice.name)
                assert ("identity provider", "user role") in session.execute(changes).all()


def test_the_last_admin_with_a_password_stays(cloud):
    with cloud.database.writing() as session:
        users.by_identity(session, "issuer sub", "lead@example.org", "admin", time.time())
        local = session.scalars(sa.select(User).where(User.name == "admin")).one()
        with pytest.raises(users.UserError, match="last admin with a password"):
            users.remove(session, local, "test")
        lead = session.scalars(sa.select(User).where(User.name == "lead@example.org")).one()
        users.remove(session, lead, "test")


class Crooked:
    """A provider that signs whatever a test wants."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "1"})
        self.token = ""
        self.info: dict = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith("/jwks"):
                    return self.say({"keys": [outer.key.as_dict(private=False)]})
                if self.path.endswith("/me"):
                    return self.say(outer.info)
                self.say({
                    "issuer": outer.issuer, "jwks_uri": outer.issuer + "/jwks",
                    "authorization_endpoint": outer.issuer + "/auth",
                    "token_endpoint": outer.issuer + "/token",
                    "userinfo_endpoint": outer.issuer + "/me",
                })  # fmt: skip

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                outer.asked = parse_qs(self.rfile.read(length).decode())
                self.say({"access_token": "x", "token_type": "bearer", "id_token": outer.token})

            def say(self, found: dict) -> None:
                data = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def crooked():
    made = Crooked()
    yield made
    made.server.shutdown()
    made.server.server_close()


FLOW = Flow("state", "nonce", "verifier" * 8)
BACK = "http://127.0.0.1/back"


def finish(crooked: Crooked, key=None, header=None, given=None, **changes):
    claims = {
        "iss": crooked.issuer, "aud": "console", "sub": "1", "nonce": "nonce",
        "exp": int(time.time()) + 60, "iat": int(time.time()), "groups": ["ops"],
        "email": "a@example.org", "email_verified": True,
    }  # fmt: skip
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    header = header or {"alg": "RS256", "kid": "1"}
    crooked.token = jwt.encode(header, claims, key or crooked.key, algorithms=[header["alg"]])
    made = IdentityProvider(crooked.issuer, "console", SECRET, ROLES)
    return made.finish(FLOW, BACK, {"state": "state", "code": "c"} | (given or {}))


def test_a_good_token_is_accepted(crooked):
    assert finish(crooked).role == "operator"
    assert crooked.asked["code_verifier"] == [FLOW.verifier]
    crooked.info = {"sub": "1", "groups": ["leads", "everyone"]}
    assert finish(crooked, groups=None).role == "admin"  # from the user info


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["console", "other"], "azp": "other"},
        {"nonce": "other"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"email": None},
        {"email_verified": "true"},
        {"groups": ["cooks"]},
        {"groups": {"ops": 1}},
        {"groups": None},
        {"key": RSAKey.generate_key(2048)},
        {"key": OctKey.import_key(SECRET), "header": {"alg": "HS256"}},
        {"given": {"state": "other"}},
        {"given": {"state": "ü"}},
        {"given": {"error": "access_denied"}},
        {"given": {"iss": "https://other.example"}},
    ],
)  # fmt: skip
def test_a_crooked_token_is_rejected(crooked, changes):
    crooked.info = {"sub": "2", "groups": ["ops"], "email": "b@example.org"}
    with pytest.raises(ProviderError):
        finish(crooked, **changes)


def test_a_token_without_a_signature_is_rejected(crooked):
    finish(crooked)
    head = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    crooked.token = f"{head}.{crooked.token.split('.')[1]}."
    made = IdentityProvider(crooked.issuer, "console", SECRET, ROLES)
    with pytest.raises(ProviderError):
        made.finish(FLOW, BACK, {"state": "state", "code": "c"})


def test_new_keys_of_the_provider_are_fetched(crooked):
    made = IdentityProvider(crooked.issuer, "console", SECRET, ROLES)
    made.begin(BACK)
    crooked.key = RSAKey.generate_key(2048, {"kid": "2"})
    finish(crooked, header={"alg": "RS256", "kid": "2"})
    assert made.finish(FLOW, BACK, {"state": "state", "code": "c"}).name == "a@example.org"


def test_a_sign_in_that_another_browser_began_is_not_finished_here(tmp_path, crooked):
    """Otherwise somebody could sign another person in as themselves."""
    made = IdentityProvider(crooked.issuer, "console", SECRET, ROLES)
    with Cloud(tmp_path / "c", provider=made) as cloud:
        let_in(cloud, "admin")
        with httpx.Client(base_url=cloud.api_url, timeout=WAIT_S) as victim:
            there = victim.get("/sign-in/provider").headers["location"]
            state = parse_qs(urlsplit(there).query)["state"][0]
            assert parse_qs(urlsplit(there).query)["code_challenge_method"] == ["S256"]
        with Visitor(cloud.api_url) as other:
            text = other.get(f"/sign-in/provider/return?code=c&state={state}")
            assert "began in another browser" in text
            other.http.cookies.set("ivota-provider", "W10=.0", path="/sign-in/provider")
            other.get(f"/sign-in/provider/return?code=c&state={state}")
            assert not signed_in(other)


def test_a_provider_that_is_down_is_said(tmp_path, crooked):
    made = IdentityProvider(crooked.issuer, "console", SECRET, ROLES)
    crooked.server.shutdown()
    crooked.server.server_close()
    with Cloud(tmp_path / "c", provider=made) as cloud:
        let_in(cloud, "admin")
        with Visitor(cloud.api_url) as visitor:
            assert "cannot be used" in visitor.get("/sign-in/provider")
            visitor.sign_in("admin")
            assert signed_in(visitor)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://example.org", "c", "s", ROLES), "https"),
        (("nonsense", "c", "s", ROLES), "https"),
        (("https://example.org", "c", "s", {}), "--oidc-role"),
        (("https://example.org", "c", "s", {"ops": "king"}), "viewer, operator, admin"),
    ],
)
def test_what_cannot_work_is_rejected_at_the_start(arguments, words):
    with pytest.raises(CloudError, match=words):
        IdentityProvider(*arguments)


# -- the audit log ---------------------------------------------------------------------------


def test_the_audit_log_is_exported_from_a_cursor(cloud, monkeypatch):
    monkeypatch.setenv("IVOTA_URL", cloud.api_url)
    monkeypatch.setenv("IVOTA_TOKEN", (cloud.folder / "api.token").read_text().strip())
    with Client() as client:
        for n in range(3):
            client.create_token(f"t{n}")
        with pytest.raises(ApiError, match="reserved"):
            client.create_token("identity provider")
    done = CliRunner().invoke(app, ["audit", "--after", "0"])
    lines = done.output.splitlines()
    entries = [json.loads(line) for line in lines]
    assert [each["id"] for each in entries] == sorted(each["id"] for each in entries)
    assert "\x1b" not in done.output
    again = CliRunner().invoke(app, ["audit", "--after", str(entries[-2]["id"])])
    assert again.output.splitlines() == lines[-1:]
