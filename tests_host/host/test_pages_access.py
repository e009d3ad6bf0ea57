"""Who may see and do what in the console: sign-in, roles, forms of other sites, guessing."""

import re
import time

import httpx
import pytest
import sqlalchemy as sa
from pages_support import FRESH, PASSWORD, Visitor, let_in
from waiting import WAIT_S

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts import sign_in_throttle, users
from ivota_tools.cloud.accounts.tokens import LOCAL_TOKEN, local_token
from ivota_tools.cloud.pages import live_events
from ivota_tools.cloud.pages.app import make_pages
from ivota_tools.cloud.pages.page_guard import safe_next
from ivota_tools.cloud.store.models import Audit, Refusal, SignIn, User

READING = (
    "/", "/firmware", "/campaigns", "/campaigns/groups", "/channels", "/audit", "/account",
    "/account/second-factor",
)  # fmt: skip
OPERATING = ("/campaigns/new", "/devices/new", "/devices/matching")
ADMINISTERING = ("/people", "/webhooks")
# Everything that changes something, with who may: what it answers does not matter, 403 does.
ACTIONS = {
    "/devices/1/update": "operator",
    "/devices/1/push": "operator",
    "/devices/1/retry": "operator",
    "/devices/1/cancel": "operator",
    "/devices/1/tags": "operator",
    "/devices/1/kind": "operator",
    "/devices/list": "operator",
    "/devices/matching": "operator",
    "/devices/selected": "operator",
    "/devices/1/secret": "operator",
    "/devices/1/accept": "operator",
    "/devices/1/retire": "operator",
    "/devices/99/delete": "operator",
    "/pending/accept": "operator",
    "/firmware/99/delete": "operator",
    "/campaigns/99/delete": "operator",
    "/devices/new": "operator",
    "/campaigns/groups": "operator",
    "/campaigns/groups/99/remove": "operator",
    "/campaigns/new": "operator",
    "/campaigns/1/start": "operator",
    "/campaigns/1/pause": "operator",
    "/campaigns/1/resume": "operator",
    "/campaigns/1/cancel": "operator",
    "/campaigns/1/retry": "operator",
    "/channels/99/offer": "operator",
    "/channels/99/end": "operator",
    "/people/users": "admin",
    "/people/users/99/role": "admin",
    "/people/users/99/password": "admin",
    "/people/users/99/remove": "admin",
    "/people/tokens": "admin",
    "/people/tokens/99/remove": "admin",
    "/people/users/99/second-factor": "admin",
    "/webhooks/test": "admin",
    "/webhooks/retry": "admin",
    "/webhooks/99/retry": "admin",
    "/account/password": "viewer",
    "/account/second-factor": "viewer",
    "/account/second-factor/off": "viewer",
    "/account/sign-ins/99/end": "viewer",
}
RANK = ("viewer", "operator", "admin")


@pytest.fixture
def cloud(tmp_path):
    with Cloud(tmp_path / "c") as running:
        yield running


@pytest.fixture
def peopled(cloud):
    let_in(cloud, "admin", "operator", "viewer")
    return cloud


def test_the_setup_link_is_good_once(cloud):
    link = cloud.set_up_url
    assert link and link.startswith(cloud.api_url + "/set-up/")
    with Visitor(cloud.api_url) as visitor:
        assert "Not set up yet" in visitor.get("/")
        visitor.get("/set-up/wrong", 404)
        visitor.get(link)
        path = httpx.URL(link).path
        weak = {"name": "boss", "password": "short", "again": "short"}
        assert "10 to 256 characters" in visitor.post(path, 422, **weak)
        other = {"name": "boss", "password": PASSWORD, "again": PASSWORD + "x"}
        assert "The passwords do not match" in visitor.post(path, 422, **other)
        text = visitor.post(path, name=" Boss ", password=PASSWORD, again=PASSWORD)
        assert "Welcome, boss" in text and "No board has reported yet" in text
        assert "mqtt" in text and str(cloud.mqtt_port) in text
        visitor.get(link, 404)
    assert cloud.set_up_url is None
    with Visitor(cloud.api_url) as visitor:
        visitor.get(link, 404)
        assert "Sign in" in visitor.get("/set-up")


def test_the_link_is_the_same_after_a_restart_and_another_elsewhere(tmp_path):
    links = []
    for name in ("a", "a", "b"):
        with Cloud(tmp_path / name) as cloud:
            links.append(httpx.URL(cloud.set_up_url).path)
    assert links[0] == links[1] != links[2]


def test_signing_in_and_out(peopled):
    with Visitor(peopled.api_url) as visitor:
        assert visitor.http.get("/", follow_redirects=False).headers["location"] == "/sign-in"
        text = visitor.get("/campaigns/new?query=x")
        assert "Sign in" in text and "%2Fcampaigns%2Fnew%3Fquery%3Dx" in str(visitor.page.url)
        visitor.post(
            "/sign-in", name="Operator ", password=PASSWORD, next="/campaigns/new?query=x"
        )
        assert visitor.page.url.path == "/campaigns/new"
        cookie = visitor.http.cookies["ivota"]
        assert "Sign in" in visitor.post("/sign-out")
        visitor.http.cookies.set("ivota", cookie)  # the word itself is dead
        assert "Sign in" in visitor.get("/")


def test_after_a_form_that_came_too_late_its_page_is_shown_again(peopled):
    """The form's own address is no page: it would be answered with 405."""
    with Visitor(peopled.api_url, "operator") as visitor:
        visitor.get("/campaigns/groups?name=x")
        with peopled.database.writing() as session:
            session.execute(sa.delete(SignIn))
        visitor.http.headers["referer"] = str(visitor.page.url)
        given = visitor.fields("/campaigns/groups", query="all")
        assert "Sign in" in visitor.send("/campaigns/groups", **given)
        (onward,) = re.findall(r'name="next" value="([^"]*)"', visitor.page.text)
        assert onward == "/campaigns/groups?name=x"
        visitor.http.headers["referer"] = "http://[evil"
        visitor.send("/campaigns/groups", **given | {"csrf": visitor.csrf})
        assert 'name="next" value="/"' in visitor.page.text


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("/devices/1", "/devices/1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
        ("/a\nb", "/"),
    ],
)
def test_a_link_leads_to_no_other_site_after_signing_in(given, safe):
    assert safe_next(given) == safe


def test_cookies_are_for_this_site_alone(peopled):
    with Visitor(peopled.api_url) as visitor:
        visitor.get("/sign-in")
        answer = visitor.http.post(
            "/sign-in",
            data={"csrf": visitor.csrf, "name": "viewer", "password": PASSWORD},
            follow_redirects=False,
        )
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
        # Through a proxy on this machine that ends TLS.
        secure = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7",
                  "host": "ota.example.org"}  # fmt: skip
        page = httpx.get(f"{peopled.api_url}/sign-in", headers=secure, timeout=WAIT_S)
        assert "max-age" in page.headers["strict-transport-security"]
        word = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)[1]
        form = page.headers["set-cookie"].split(";")[0]
        answer = httpx.post(
            f"{peopled.api_url}/sign-in",
            data={"csrf": word, "name": "viewer", "password": PASSWORD},
            headers={**secure, "cookie": form, "origin": "https://ota.example.org"},
            timeout=WAIT_S,
        )
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-ivota=") and "; Secure" in cookie and "Path=/" in cookie


def test_usual_headers(peopled):
    with Visitor(peopled.api_url, "admin") as visitor:
        for path in (*READING, *OPERATING, *ADMINISTERING, "/static/console.js", "/nothing"):
            headers = visitor.http.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "script-src 'self'" in policy
            assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            if not path.startswith("/static"):
                assert headers["cache-control"] == "no-store"
            text = visitor.http.get(path).text
            assert "<script>" not in text and " style=" not in text and " onclick" not in text


def test_nobody_sees_anything_without_signing_in(peopled):
    with Visitor(peopled.api_url) as visitor:
        for path in (*READING, *OPERATING, *ADMINISTERING, "/devices/1", "/live"):
            answer = visitor.http.get(path, follow_redirects=False)
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/sign-in"), path
        for path in ACTIONS:
            visitor.get("/sign-in")
            answer = visitor.http.post(path, data={"csrf": visitor.csrf}, follow_redirects=False)
            assert answer.headers.get("location", "").startswith("/sign-in"), path
        assert visitor.http.get("/api/v1/devices").status_code == 401


@pytest.mark.parametrize("role", RANK)
def test_roles_on_every_page_and_action(peopled, role):
    with Visitor(peopled.api_url, role) as visitor:
        may = RANK[: RANK.index(role) + 1]
        for paths, needed in ((READING, "viewer"), (OPERATING, "operator"),
                              (ADMINISTERING, "admin")):  # fmt: skip
            for path in paths:
                text = visitor.get(path, 200 if needed in may else 403)
                if needed not in may:
                    assert f"requires the role {needed}. You are signed in as {role}" in text
        visitor.get("/account")
        word = visitor.csrf
        for path, needed in ACTIONS.items():
            answer = visitor.http.post(path, data={"csrf": word}, follow_redirects=False)
            assert (answer.status_code == 403) is (needed not in may), (path, answer.status_code)
        # The same by the API, with the browser's cookie.
        headers = {"x-csrf-token": word}
        assert visitor.http.get("/api/v1/devices").status_code == 200
        answer = visitor.http.put(
            "/api/v1/groups", json={"name": "g", "query": "all"}, headers=headers
        )
        assert answer.status_code == (200 if "operator" in may else 403)
        assert visitor.http.get("/api/v1/users").status_code == (200 if "admin" in may else 403)
        assert visitor.http.get("/api/v1/tokens").status_code == (200 if "admin" in may else 403)


def test_every_action_is_in_the_list_above(peopled):
    known = set()
    for each in make_pages(peopled._pages).routes:
        if "POST" in (getattr(each, "methods", None) or ()):
            known.add(re.sub(r"\{id(:int)?\}", "N", each.path))
    listed = {re.sub(r"/\d+", "/N", path) for path in ACTIONS}
    assert known == listed | {"/sign-in", "/sign-in/code", "/sign-out", "/set-up/{key}"}


def test_no_form_of_another_site_does_anything(peopled):
    """Without the word, with another browser's, from another origin: nothing happens."""
    with Visitor(peopled.api_url, "admin") as visitor, Visitor(
        peopled.api_url, "operator"
    ) as other:  # fmt: skip
        visitor.get("/people")
        word = visitor.csrf
        other.get("/account")
        form = {"name": "mole", "password": PASSWORD, "role": "admin"}
        for csrf, headers in (
            ("", {}),
            ("0" * 64, {}),
            (other.csrf, {}),
            (word, {"origin": "http://evil.example"}),
            (word, {"origin": "null"}),
            (word, {"sec-fetch-site": "cross-site"}),
            (word, {"sec-fetch-site": "same-site"}),
        ):
            answer = visitor.http.post("/people/users", data={**form, "csrf": csrf},
                                       headers=headers)  # fmt: skip
            assert answer.status_code == 403, (csrf, headers)
            api = visitor.http.post("/api/v1/users", json=form,
                                    headers={**headers, "x-csrf-token": csrf})  # fmt: skip
            assert api.status_code == 403, (csrf, headers)
        with peopled.database.reading() as session:
            assert session.scalar(sa.select(User.id).where(User.name == "mole")) is None
        same = {"origin": peopled.api_url}
        answer = visitor.http.post("/people/users", data={**form, "csrf": word}, headers=same)
        assert "mole can now sign in" in answer.text


def test_no_other_site_signs_somebody_in(peopled):
    """A form for signing in is bound to the browser that asked for it."""
    with Visitor(peopled.api_url) as one, Visitor(peopled.api_url) as two:
        one.get("/sign-in")
        two.get("/sign-in")
        form = {"csrf": one.csrf, "name": "viewer", "password": PASSWORD}
        assert two.http.post("/sign-in", data=form).status_code == 403
        assert (
            httpx.post(f"{peopled.api_url}/sign-in", data=form, timeout=WAIT_S).status_code == 403
        )
        assert one.http.post("/sign-in", data=form).status_code == 200


def test_guessing_is_slowed_down(peopled):
    with Visitor(peopled.api_url) as visitor:
        for _ in range(sign_in_throttle.HERE_MOST):
            assert "Wrong name or password" in visitor.sign_in("admin", "wrong password", 401)
        text = visitor.sign_in("admin", PASSWORD, 429)
        assert "Too many attempts" in text
        assert 0 < int(visitor.page.headers["retry-after"]) <= sign_in_throttle.WINDOW_S
        visitor.sign_in("viewer")  # another name is not kept out
    with peopled.database.writing() as session:
        session.execute(sa.update(Refusal).values(at=Refusal.at - sign_in_throttle.WINDOW_S))
    with Visitor(peopled.api_url, "admin"):
        pass


def test_one_address_and_one_name_have_limits_of_their_own(peopled):
    now = time.time()
    with peopled.database.writing() as session:
        for number in range(sign_in_throttle.ADDRESS_MOST):
            sign_in_throttle.refused(session, f"name{number}", "192.0.2.1", now)
        assert sign_in_throttle.wait_s(session, "somebody", "192.0.2.1", now) > 0
        assert sign_in_throttle.wait_s(session, "somebody", "192.0.2.2", now) == 0
        for number in range(sign_in_throttle.NAME_MOST):
            sign_in_throttle.refused(session, "admin", f"198.51.100.{number}", now)
        assert sign_in_throttle.wait_s(session, "ADMIN ", "203.0.113.1", now) > 0
        assert (
            sign_in_throttle.wait_s(
                session, "ADMIN ", "203.0.113.1", now + sign_in_throttle.WINDOW_S
            )
            == 0
        )


def test_an_unknown_name_is_answered_like_a_wrong_password(peopled, monkeypatch):
    """The same words and status, and the same work: one hash is verified either way."""
    verified = []

    class Counting:
        def verify(self, hashed, password):
            verified.append(hashed)
            return real.verify(hashed, password)

    real = users._HASHER
    monkeypatch.setattr(users, "_HASHER", Counting())
    answers = []
    with Visitor(peopled.api_url) as visitor:
        for name in ("admin", "nobody-at-all"):
            answers.append(visitor.sign_in(name, "wrong password", 401))
    assert answers[0] == answers[1].replace("nobody-at-all", "admin")
    assert len(verified) == 2
    params = [each.split("$")[1:4] for each in verified]
    assert params[0] == params[1] and params[0][0] == "argon2id"


def test_passwords_and_words_are_kept_as_hashes(peopled):
    with Visitor(peopled.api_url, "admin") as visitor:
        word = visitor.http.cookies["ivota"]
        with peopled.database.reading() as session:
            rows = [
                *session.scalars(sa.select(User.password)),
                *session.scalars(sa.select(SignIn.sha256)),
            ]
            logged = [f"{a.subject} {a.detail}" for a in session.scalars(sa.select(Audit))]
        assert len(rows) > 1 and logged
        assert not any(PASSWORD in row or word in row for row in rows + logged)
    raw = (peopled.folder / "ivota.db").read_bytes()
    assert PASSWORD.encode() not in raw and word.encode() not in raw


def test_another_password(peopled):
    """Needs the old one, and signs out every other browser."""
    with Visitor(peopled.api_url, "viewer") as here, Visitor(peopled.api_url, "viewer") as there:
        here.get("/account")
        new = "quite another sentence"
        wrong = {"old": "wrong password", "password": new, "again": new}
        assert "current password is wrong" in here.post("/account/password", **wrong)
        short = {"old": PASSWORD, "password": "viewer1234", "again": "viewer1234"}
        assert "too similar to" in here.post("/account/password", **short)
        text = here.post("/account/password", old=PASSWORD, password=new, again=new)
        assert "Your password was changed" in text
        assert "Sign in" in there.get("/")
        assert "viewer" in here.get("/")
        there.sign_in("viewer", PASSWORD, 401)
        there.sign_in("viewer", new)


def test_which_passwords_are_too_weak():
    for name, password in (
        ("ada", "eleven-chars" + "ada"),
        ("a-very-long-user-name", "x1y2z3w4v5u6"),  # shorter than the name, and another
        ("ada", "abcdabcdabcd"),
    ):
        assert users.hashed(name, password).startswith("$argon2id$")
    for name, password, why in (
        ("administrator", "Administrator12", "too similar"),
        ("ada", "x1y2z3w4v"[: users.PASSWORD_LEAST - 1], "must have"),
        ("ada", "x1y2" * (users.PASSWORD_MOST // 4) + "x", "must have"),
        ("ada", "abc" * 6, "too simple"),
    ):
        with pytest.raises(users.UserError, match=why):
            users.hashed(name, password)


def test_the_old_password_is_no_more_to_be_guessed_than_at_the_sign_in(peopled):
    """What has the right one is no guess, whatever becomes of the new one."""
    new = {"password": "quite another sentence", "again": "quite another sentence"}
    weak = {"password": "viewer1234", "again": "viewer1234"}
    with Visitor(peopled.api_url, "viewer") as visitor:
        visitor.get("/account")
        for _ in range(sign_in_throttle.HERE_MOST + 1):
            assert "too similar to" in visitor.post("/account/password", old=PASSWORD, **weak)
        for _ in range(sign_in_throttle.HERE_MOST):
            assert "password is wrong" in visitor.post("/account/password", old="guessed", **new)
        assert "Too many attempts" in visitor.post("/account/password", old=PASSWORD, **new)


def test_a_try_is_counted_before_it_is_looked_at(peopled, monkeypatch):
    """Many at once are not all let try."""
    counted = []

    def look(session, _name, _password):
        counted.append(session.scalar(sa.select(sa.func.count(Refusal.id))))

    with Visitor(peopled.api_url, "viewer") as visitor:
        monkeypatch.setattr(users, "by_password", look)
        visitor.get("/account")
        new = "quite another sentence"
        visitor.post("/account/password", old="guessed", password=new, again=new)
        with Visitor(peopled.api_url) as guest:
            guest.sign_in("viewer", "guessed", 401)
    assert counted == [1, 2]


def test_signing_out_everywhere_and_one_browser(peopled):
    with (
        Visitor(peopled.api_url, "operator") as one,
        Visitor(peopled.api_url, "operator") as two,
        Visitor(peopled.api_url, "operator") as three,
    ):
        one.get("/account")
        number = re.search(r"/account/sign-ins/(\d+)/end", one.page.text)[1]
        assert "was signed out" in one.post(f"/account/sign-ins/{number}/end")
        signed = ["Sign in" not in each.get("/") for each in (one, two, three)]
        assert signed.count(True) == 2 and signed[0]
        with Visitor(peopled.api_url, "admin") as admin:
            admin.get("/account")
            end = re.search(r"/account/sign-ins/(\d+)/end", one.get("/account") and one.page.text)
            # Somebody else's is not theirs to end.
            assert "already" in admin.send(f"/account/sign-ins/{end[1]}/end")
            one.get("/account")
            one.post("/sign-out", everywhere="1")
            assert all("Sign in" in each.get("/") for each in (one, two, three))
            assert "admin" in admin.get("/")
    with peopled.database.reading() as session:
        lines = session.scalars(sa.select(Audit).where(Audit.action == "sign out"))
        assert [line.detail for line in lines] == ["", '{"everywhere": true}']


def test_a_browser_is_signed_out_by_time(peopled):
    with Visitor(peopled.api_url, "viewer") as visitor:
        with peopled.database.writing() as session:
            session.execute(sa.update(SignIn).values(seen_at=time.time() - users.IDLE_S - 1))
        assert "Sign in" in visitor.get("/")
        visitor.sign_in("viewer")
        with peopled.database.writing() as session:
            session.execute(sa.update(SignIn).values(created_at=time.time() - users.LIFE_S - 1))
        assert "Sign in" in visitor.get("/")


def test_an_admin_lets_others_in_and_out(peopled):
    with Visitor(peopled.api_url, "admin") as admin:
        admin.get("/people")
        text = admin.post("/people/users", name="New.One", password=PASSWORD, role="viewer")
        assert "new.one can now sign in with the role viewer" in text
        for name, said in (("new.one", "already"), ("a b", "1 to 64 characters"),
                           ("engine", "audit log"), ("", "1 to 64 characters")):  # fmt: skip
            assert said in admin.post("/people/users", name=name, password=PASSWORD, role="viewer")
        text = admin.post("/people/users", name="x", password=PASSWORD, role="god")
        assert "The role must be one of" in text
        with peopled.database.reading() as session:
            ids = {user.name: user.id for user in session.scalars(sa.select(User))}
        with Visitor(peopled.api_url, "new.one") as theirs:
            assert theirs.http.get("/campaigns/new").status_code == 403
            for role in ("god", "", "Operator", "x" * 20):
                text = admin.post(f"/people/users/{ids['new.one']}/role", role=role)
                assert "The role must be one of" in text and "new.one" in text
                assert theirs.http.get("/campaigns/new").status_code == 403
            admin.post(f"/people/users/{ids['new.one']}/role", role="operator")
            assert theirs.http.get("/campaigns/new").status_code == 200
            admin.post(f"/people/users/{ids['new.one']}/password", password="set by the admin")
            assert "Sign in" in theirs.get("/")
            theirs.sign_in("new.one", "set by the admin")
            admin.post(f"/people/users/{ids['new.one']}/remove")
            assert "Sign in" in theirs.get("/")
        for path, form in (("role", {"role": "viewer"}), ("remove", {})):
            assert "last admin" in admin.post(f"/people/users/{ids['admin']}/{path}", **form)


def test_a_token_is_shown_once_and_has_a_role(peopled):
    with Visitor(peopled.api_url, "admin") as admin:
        admin.get("/people")
        text = admin.post("/people/tokens", name="eyes", role="viewer")
        word = re.search(r"ivota_[\w-]{32}", text)[0]
        assert word not in admin.get("/people")
        assert "already" in admin.post("/people/tokens", 422, name="eyes", role="viewer")
        assert "role must be one of" in admin.post("/people/tokens", 422, name="odd", role="god")
        with Client(peopled.api_url, word) as api:
            assert api.devices() == []
            with pytest.raises(
                ApiError, match="has the role viewer, but this request needs operator"
            ):
                api.put_group("g", "")
            number = next(
                each["id"]
                for each in Client(peopled.api_url, local_token(peopled.folder)).tokens()
            )
            admin.post(f"/people/tokens/{number}/remove")
            with pytest.raises(ApiError, match="missing or invalid"):
                api.devices()


def test_the_first_user_locks_the_api_but_for_the_owner_of_the_machine(cloud):
    with Client(cloud.api_url) as api:
        assert api.devices() == []
        with pytest.raises(ApiError, match="first user must be an admin"):
            api.create_user("eyes", PASSWORD, "viewer")
        api.create_user("boss", PASSWORD, "admin")
        with pytest.raises(ApiError, match="missing or invalid"):
            api.devices()
    path = cloud.folder / LOCAL_TOKEN
    assert path.stat().st_mode & 0o777 == 0o600
    with Client(cloud.api_url, path.read_text().strip()) as api:
        made = api.create_user("hands", PASSWORD)
        assert api.change_user(made["id"], role="viewer")["role"] == "viewer"
        assert [each["name"] for each in api.users()] == ["boss", "hands"]
        assert "password" not in api.users()[0]
        api.remove_user(made["id"])
        with pytest.raises(ApiError, match="last admin"):
            api.remove_user(api.users()[0]["id"])
        assert api.audit()[-1]["who"] == "local"


def test_without_tls_pages_are_for_this_machine(peopled, tmp_path):
    elsewhere = {"host": "192.168.1.10:8123"}
    for headers in (elsewhere, {"x-forwarded-for": "192.0.2.7"}):
        answer = httpx.get(f"{peopled.api_url}/sign-in", headers=headers, timeout=WAIT_S)
        assert answer.status_code == 403 and "--plain-console" in answer.text
    secure = {**elsewhere, "x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}
    assert (
        httpx.get(f"{peopled.api_url}/sign-in", headers=secure, timeout=WAIT_S).status_code == 200
    )
    with Cloud(tmp_path / "plain", plain_console=True) as plain:
        let_in(plain, "admin")
        assert (
            httpx.get(f"{plain.api_url}/sign-in", headers=elsewhere, timeout=WAIT_S).status_code
            == 200
        )


def test_forms_have_a_limit(peopled):
    with Visitor(peopled.api_url, "viewer") as visitor:
        visitor.get("/account")
        big = {"csrf": visitor.csrf, "old": "x" * 70_000}
        assert visitor.http.post("/account/password", data=big).status_code == 413
        many = "&".join(f"a{n}=1" for n in range(300))
        headers = {"content-type": "application/x-www-form-urlencoded", **FRESH}
        answer = visitor.http.post("/account/password", content=many, headers=headers)
        assert answer.status_code == 400
        assert visitor.http.post("/account/password", content=b"\xff\xfe").status_code == 400


def test_a_page_is_told_that_its_reader_was_signed_out(peopled, monkeypatch):
    monkeypatch.setattr(live_events, "CHECK_S", 0.1)
    with Visitor(peopled.api_url, "viewer") as visitor:
        with visitor.http.stream("GET", "/live") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            with peopled.database.writing() as session:
                session.execute(sa.delete(SignIn))
            assert any(line == "event: over" for line in lines)
