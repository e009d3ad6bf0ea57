"""Sign in with OpenID Connect: an identity provider confirms who the user is."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from ..cloud_error import CloudError
from .roles import ROLES

TIMEOUT_S = 10.0  # for each request to the provider
KEEP_S = 3600.0  # how long the provider's configuration and keys are cached
LEEWAY_S = 60  # allowed difference between two clocks
# Only signatures: HS256 would let anybody with the client secret make tokens, "none" everybody.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")


class ProviderError(Exception):
    """The provider did not confirm who the user is; the text says why."""


@dataclass(frozen=True)
class Flow:
    """A sign-in in progress: values that the browser keeps until it returns."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Identity:
    """A confirmed user. `subject` never changes and is unique; `name` is for people."""

    subject: str
    name: str
    role: str


class IdentityProvider:
    """An OpenID Connect provider.

    issuer        its URL, as its configuration names it; https, except on this machine
    roles         the role of each group; a user gets the highest of their groups'
    groups_claim  the claim that lists the groups
    name_claim    the claim that names the user; "email" must be verified by the provider
    scope         what to ask for, separated by blanks
    Raises CloudError.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        roles: Mapping[str, str],
        *,
        groups_claim: str = "groups",
        name_claim: str = "email",
        scope: str = "openid profile email",
    ) -> None:
        parts = urlsplit(issuer)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "https" or parts.scheme == "http" and local):
            raise CloudError(f"--oidc-issuer {issuer!r} must be an https:// URL")
        for group, role in roles.items():
            if role not in ROLES:
                raise CloudError(
                    f"--oidc-role {group}={role}: the role must be one of {', '.join(ROLES)}"
                )
        if not roles:
            raise CloudError("--oidc-issuer needs --oidc-role, or nobody could sign in")
        if "openid" not in scope.split():
            raise CloudError("--oidc-scope must contain openid")
        self.issuer, self.host = issuer, parts.netloc
        self._client_id, self._client_secret = client_id, client_secret
        self._roles = dict(roles)
        self._groups_claim, self._name_claim, self._scope = groups_claim, name_claim, scope
        self._lock = threading.Lock()
        self._configuration: dict[str, Any] = {}
        self._keys = KeySet([])
        self._until = 0.0

    def begin(self, back: str) -> tuple[str, Flow]:
        """Return the provider's page for the browser, which returns to the URL `back`.

        Raises ProviderError.
        """
        configuration = self._load()
        flow = Flow(*(secrets.token_urlsafe(32) for _ in range(3)))
        with self._client(back) as client:
            url, _ = client.create_authorization_url(
                configuration["authorization_endpoint"],
                state=flow.state,
                nonce=flow.nonce,
                code_verifier=flow.verifier,
            )
        return str(url), flow

    def finish(self, flow: Flow, back: str, given: Mapping[str, str]) -> Identity:
        """Return the user for the parameters with which the browser returns to `back`.

        Raises ProviderError.
        """
        if not hmac.compare_digest(
            given.get("state", "").encode(errors="replace"), flow.state.encode()
        ):
            raise ProviderError("This sign-in was not started in this browser. Try again.")
        if "error" in given:
            words = given.get("error_description") or given["error"]
            raise ProviderError(f"{self.host} refused the sign-in: {words[:200]}")
        # RFC 9207: the response names its provider, so that none can pass for another.
        if given.get("iss", self.issuer) != self.issuer:
            raise ProviderError(f"The sign-in response did not come from {self.host}. Try again.")
        configuration = self._load()
        try:
            with self._client(back) as client:
                token = client.fetch_token(
                    configuration["token_endpoint"],
                    grant_type="authorization_code",
                    code=given.get("code", ""),
                    code_verifier=flow.verifier,
                )
                claims = self._verified(str(token.get("id_token", "")), flow.nonce)
                if self._groups_claim not in claims or self._name_claim not in claims:
                    claims = {**self._user_info(client, claims["sub"]), **claims}
        except (OAuthError, httpx.HTTPError, JoseError, KeyError, TypeError, ValueError) as error:
            words = str(error)[:200] or type(error).__name__
            raise ProviderError(f"{self.host} did not confirm the sign-in: {words}") from None
        return self._identity(claims)

    def _client(self, back: str) -> OAuth2Client:
        client = OAuth2Client(
            self._client_id,
            self._client_secret,
            scope=self._scope,
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )
        client.register_client_auth_method(("client_secret_basic", self._basic))
        return client

    def _basic(self, _: object, method: str, uri: str, headers: Any, body: Any) -> Any:
        """Authenticate as RFC 6749 says (section 2.3.1). Authlib does not encode the two parts."""
        parts = (quote_plus(each) for each in (self._client_id, self._client_secret))
        headers["Authorization"] = "Basic " + b64encode(":".join(parts).encode()).decode()
        return uri, headers, body

    def _load(self, afresh: bool = False) -> dict[str, Any]:
        """Return the provider's configuration, cached with its keys. Raises ProviderError."""
        with self._lock:
            now = time.monotonic()
            if now < self._until and not afresh:
                return self._configuration
            try:
                with httpx.Client(timeout=TIMEOUT_S) as client:
                    path = "/.well-known/openid-configuration"
                    found = client.get(self.issuer.rstrip("/") + path).raise_for_status().json()
                    if found["issuer"] != self.issuer:
                        named = str(found["issuer"])[:100]
                        raise ValueError(
                            f"its issuer is {named!r}: set --oidc-issuer to this value"
                        )
                    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                        self._expect_secure(found[name])
                    keys = client.get(found["jwks_uri"]).raise_for_status().json()
                    keys = KeySet.import_key_set(keys)
            except (httpx.HTTPError, JoseError, KeyError, TypeError, ValueError) as error:
                said = f"its configuration lacks {error}" if isinstance(error, KeyError) else error
                raise ProviderError(
                    f"The identity provider {self.host} cannot be used: {said}"[:300]
                ) from None
            self._configuration, self._keys, self._until = found, keys, now + KEEP_S
            return self._configuration

    def _expect_secure(self, url: str) -> None:
        if urlsplit(url).scheme != urlsplit(self.issuer).scheme:
            raise ValueError(f"{url[:100]} does not use {urlsplit(self.issuer).scheme}")

    def _verified(self, id_token: str, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token. Raises JoseError or ValueError."""
        try:
            token = jwt.decode(id_token, self._keys, ALGORITHMS)
        except (JoseError, ValueError):
            self._load(afresh=True)  # the provider may have new keys
            token = jwt.decode(id_token, self._keys, ALGORITHMS)
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(token.claims)
        audience = token.claims["aud"]
        if isinstance(audience, list) and len(audience) > 1:
            if token.claims.get("azp") != self._client_id:
                raise ValueError("the token is for another client")
        return dict(token.claims)

    def _user_info(self, client: OAuth2Client, subject: str) -> dict[str, Any]:
        """Return the claims of the provider's user-info endpoint, or none without one."""
        url = self._configuration.get("userinfo_endpoint")
        if not url:
            return {}
        self._expect_secure(url)
        found = client.get(url).raise_for_status().json()
        if found.get("sub") != subject:
            raise ValueError("the user info is for another user")
        return dict(found)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        name = claims.get(self._name_claim)
        if not isinstance(name, str) or not name:
            raise ProviderError(
                f"{self.host} did not identify you: the claim {self._name_claim!r} is missing."
            )
        if self._name_claim == "email" and claims.get("email_verified") is not True:
            raise ProviderError(f"{self.host} has not verified your e-mail address.")
        groups = claims.get(self._groups_claim, ())
        groups = [groups] if isinstance(groups, str) else groups
        if not isinstance(groups, (list, tuple)):
            groups = ()
        mine = {
            self._roles[each] for each in groups if isinstance(each, str) and each in self._roles
        }
        role = next((role for role in reversed(ROLES) if role in mine), None)
        if role is None:
            raise ProviderError(
                f"{name[:100]} is not in a group that may use this console. Ask an admin which "
                f"group of {self.host} you need."
            )
        return Identity(f"{self.issuer} {claims['sub']}", name, role)
