"""Sign in to the console through a real OpenID Connect provider, npm's oidc-provider."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts import users
from ivota_tools.cloud.accounts.identity_provider import IdentityProvider
from ivota_tools.toolchain import node_packages

SECRET = "a secret: with / and ? and %"
PAGE_S = 60.0  # for each page, on a busy machine
_SCRIPT = Path(__file__).with_name("oidc_provider.mjs")


class Provider:
    """A running provider: its address `issuer`, and the file `accounts` of its users' claims."""

    def __init__(self, process: subprocess.Popen[str], accounts: Path) -> None:
        assert process.stdin and process.stdout
        self._input, self._output = process.stdin, process.stdout
        self.accounts = accounts
        self.issuer = f"http://127.0.0.1:{int(self._output.readline())}"

    def serve(self, console: str) -> None:
        """Answer from now on, for the console at this address."""
        self._input.write(f"{console}/sign-in/provider/return\n")
        self._input.flush()
        if self._output.readline() != "ready\n":
            raise RuntimeError("oidc-provider does not start")


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    """Run the provider. Raises ToolchainError without Node.js."""
    accounts = folder / "accounts.json"
    accounts.write_text("{}")
    with subprocess.Popen(
        ["node", str(_SCRIPT), str(node_packages.oidc_provider()), str(accounts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Provider(process, accounts)
        finally:
            assert process.stdin
            process.stdin.close()  # which ends it


def pass_through(http: httpx.Client, account: str, next_page: str = "/") -> httpx.Response:
    """Sign in at the provider as `account`, and agree to everything; return the last page."""
    page = http.get("/sign-in/provider", params={"next": next_page})
    while "/interaction/" in str(page.url):
        (action,) = re.findall(r'action="([^"]+)"', page.text)
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', page.text))
        if 'name="login"' in page.text:
            form |= {"login": account, "password": "any"}
        page = http.post(str(page.url.join(action)), data=form)
    return page


def works(folder: Path) -> bool:
    """Return whether a user of the provider can sign in with the role of their group."""
    claims = {"email": "ada@example.org", "email_verified": True, "groups": ["ops"]}
    with provider(folder) as running:
        running.accounts.write_text(json.dumps({"a1": claims}))
        made = IdentityProvider(running.issuer, "console", SECRET, {"ops": "operator"})
        with (
            Cloud(folder / "data", provider=made) as cloud,
            httpx.Client(base_url=cloud.api_url, follow_redirects=True, timeout=PAGE_S) as browser,
        ):
            running.serve(cloud.api_url)
            with cloud.database.writing() as session:
                users.create(session, "maria", "a sentence is good", "admin", time.time(), "bench")
            pass_through(browser, "a1")
            account = browser.get("/account").text
            roles = browser.get("/campaigns/new").status_code, browser.get("/people").status_code
    return "ada@example.org" in account and roles == (200, 403)
