"""A console as a browser without JavaScript sees it; for the tests of the pages."""

from __future__ import annotations

import html
import re
import time

import argon2
import httpx
import page_forms
from waiting import WAIT_S

from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts import users

# Hashes at their real price would take most of the time of these tests.
users._HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
users._NOBODY = users._HASHER.hash("nobody's")

PASSWORD = "a sentence is good"
FRESH = {"sec-fetch-site": "same-origin"}


class Visitor:
    """Follows redirects, keeps cookies, and fills the forms on the last page it saw."""

    def __init__(self, url: str, name: str | None = None) -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url, follow_redirects=True, headers=FRESH, timeout=WAIT_S
        )
        self.page = httpx.Response(200)
        if name:
            self.sign_in(name)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, status: int = 200) -> str:
        self.page = self.http.get(path)
        assert self.page.status_code == status, (path, self.page.status_code, self.text)
        return self.text

    def post(
        self, path: str, status: int = 200, press: str = "", **changes: str | bool | None
    ) -> str:
        """Change some fields of a form on the page, and send it as a browser does."""
        return self.send(path, status, **self.fields(path, press, **changes))

    def send(self, path: str, status: int = 200, **form: str) -> str:
        """Send only these fields, and the word of the page seen last unless `csrf` is another."""
        form.setdefault("csrf", self.csrf)
        self.page = self.http.post(path, data=form)
        assert self.page.status_code == status, (path, self.page.status_code, self.text)
        return self.text

    def fields(self, path: str, press: str = "", **changes: str | bool | None) -> dict[str, str]:
        """What a browser sends from the form on the page; see page_forms.py for `changes`."""
        return page_forms.form(self.page.text, path, *changes).filled(press, **changes)

    def sign_in(self, name: str, password: str = PASSWORD, status: int = 200) -> str:
        self.get("/sign-in")
        return self.post("/sign-in", status, name=name, password=password)

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.page.text)
        return found[1] if found else ""

    def link(self, rel: str) -> str:
        """The address of a link with this relation on the page, "" without one."""
        found = re.search(f'href="([^"]+)" rel="{rel}"', self.page.text)
        return html.unescape(found[1]) if found else ""

    @property
    def text(self) -> str:
        """What is to be read, without the marks."""
        words = re.sub(r"<[^>]+>", " ", self.page.text.replace("<wbr>", ""))
        return " ".join(html.unescape(words).split())


def let_in(cloud: Cloud, *names: str) -> None:
    """Each name is its role's: admin, operator, viewer."""
    with cloud.database.writing() as session:
        for name in names:
            users.create(session, name, PASSWORD, name.split("-")[0], time.time(), "test")
