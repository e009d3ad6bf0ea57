"""Turn the options of `ivota cloud` into the arguments of `Cloud`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import log_output
from ..common.api_connection import default_data
from ..common.durations import seconds
from ..firmware.bundle import ReleaseError

if TYPE_CHECKING:
    from ..cloud.accounts.identity_provider import IdentityProvider
    from ..cloud.channel.channel_files import ChannelSetting
    from ..cloud.store.file_store_settings import StoreSettings


class OptionError(ValueError):
    """Two options contradict each other, or a file that an option names cannot be read."""


def of_cloud(asked: Mapping[str, Any], process: str | None = None) -> dict[str, Any]:
    """Return the arguments of `Cloud`. `process`: the command that runs it. Raises OptionError."""
    from ..cloud import Certificate, ProcessKind  # slow to import
    from ..cloud.ddi.controller_routes import Setting as Ddi

    chain, key = asked["tls_cert"], asked["tls_key"]
    if (chain is None) != (key is None):
        raise OptionError("--tls-cert and --tls-key must be used together")
    accept, sign_in = asked["accept"], asked["sign_in"]
    if accept not in (None, "all", "none"):
        raise OptionError("--accept must be all or none")
    if asked["log_format"] not in log_output.FORMATS:
        raise OptionError("--log-format must be text or json")
    mqtt_port = asked["mqtt_port"]
    if mqtt_port is None:
        mqtt_port = 8883 if chain else 1883
    broker, tenant = asked["broker"], asked["ddi"]
    return {
        "process": ProcessKind(process or ProcessKind.CLOUD),
        "folder": asked["data"] or default_data(),
        "mqtt_port": mqtt_port,
        "http_port": asked["port"],
        "host": asked["host"],
        "broker": broker,
        "broker_password": _broker_password(asked["broker_password_file"]) if broker else None,
        "topic_prefix": asked["topic_prefix"],
        "database": _either(asked, "database"),
        "store": _store(asked),
        "sign_in": sign_in,
        "psk_port": asked["psk_port"],
        "device_ca": _authorities(asked["device_ca"] or ()),
        "device_crl": asked["device_crl"] or (),
        "certificate": Certificate(chain, key) if chain and key else None,
        "public_url": asked["public_url"],
        "url_ttl_s": asked["url_ttl"],
        "keep_s": _span(asked, "keep_reports"),
        "keep_audit_s": _span(asked, "keep_audit"),
        "push_qos": asked["push_qos"],
        "token": _either(asked, "token"),
        "upload_most": asked["max_upload"],
        "devices_most": asked["max_connected"],
        "plain_console": asked["plain_console"],
        "trusted_proxies": asked["trusted_proxy"] or (),
        "webhooks": asked["webhook"] or (),
        "webhook_secret": _webhook_secret(asked["webhook_secret_file"]),
        "accept_all": (accept or ("none" if sign_in else "all")) == "all",
        "provider": _provider(asked),
        "home_assistant": asked["home_assistant"],
        "channels": _channels(asked["channel"] or (), asked["channel_key"] or ()),
        "ddi": Ddi(tenant, asked["ddi_poll"], asked["ddi_confirm"])
        if tenant is not None
        else None,
    }


def secret_files(asked: Mapping[str, Any]) -> list[Path]:
    names = (
        "broker_password_file",
        "database_file",
        "oidc_client_secret_file",
        "store_key_file",
        "tls_key",
        "token_file",
        "webhook_secret_file",
    )
    keys = [Path(each.partition("=")[2]) for each in asked["channel_key"] or ()]
    return [file for name in names if (file := asked[name]) is not None] + keys


def _store(asked: Mapping[str, Any]) -> StoreSettings | None:
    names = ("store_proxy", "store_url", "store_key_id", "store_key_file")
    if asked["store"] is None:
        if given := [_flag(name) for name in names if asked[name]]:
            raise OptionError(f"{given[0]} needs --store")
        return None
    from ..cloud import CloudError
    from ..cloud.store.file_store_settings import StoreSettings

    file = asked["store_key_file"]
    try:
        return StoreSettings(
            asked["store"],
            proxy=asked["store_proxy"],
            cdn=asked["store_url"],
            key_id=asked["store_key_id"],
            key=_secret(file, "--store-key-file").encode() if file else None,
        )
    except CloudError as error:
        raise OptionError(str(error)) from None


def _provider(asked: Mapping[str, Any]) -> IdentityProvider | None:
    issuer, client_id = asked["oidc_issuer"], asked["oidc_client_id"]
    file, given = asked["oidc_client_secret_file"], asked["oidc_role"] or ()
    if issuer is None:
        if client_id or file or given:
            raise OptionError(
                "--oidc-client-id, --oidc-client-secret-file and --oidc-role need --oidc-issuer"
            )
        return None
    if not client_id or not file:
        raise OptionError("--oidc-issuer needs --oidc-client-id and --oidc-client-secret-file")
    roles = {}
    for each in given:
        group, equals, role = each.rpartition("=")
        if not equals or not group:
            raise OptionError(f"--oidc-role must be GROUP=ROLE, not {each!r}")
        roles[group] = role
    from ..cloud import CloudError
    from ..cloud.accounts.identity_provider import IdentityProvider

    try:
        return IdentityProvider(
            issuer,
            client_id,
            _secret(file, "--oidc-client-secret-file"),
            roles,
            groups_claim=asked["oidc_groups_claim"],
            name_claim=asked["oidc_name_claim"],
            scope=asked["oidc_scope"],
        )
    except CloudError as error:
        raise OptionError(str(error)) from None


def _span(asked: Mapping[str, Any], name: str) -> float | None:
    try:
        return None if asked[name] is None else seconds(asked[name])
    except ValueError as error:
        raise OptionError(f"{_flag(name)}: {error}") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _either(asked: Mapping[str, Any], name: str) -> str | None:
    """Return a secret that is given either directly or in a file."""
    given, file = asked[name], asked[f"{name}_file"]
    if file is None:
        return None if given is None else str(given)
    if given is not None:
        raise OptionError(
            f"use either {_flag(name)} or {_flag(name)}-file: IVOTA_{name.upper()} in the "
            f"environment also counts as {_flag(name)}"
        )
    return _secret(file, _flag(f"{name}_file"))


def _broker_password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("IVOTA_BROKER_PASSWORD")
    return _secret(file, "the broker's password")


def _webhook_secret(file: Path | None) -> str | None:
    return None if file is None else _secret(file, "--webhook-secret-file")


def _secret(file: Path, what: str) -> str:
    try:
        found = file.read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{what}: cannot read {file} ({error})") from None
    if not found:
        raise OptionError(f"{what}: {file} is empty")
    return found


def _channels(given: Sequence[str], private: Sequence[str]) -> tuple[ChannelSetting, ...]:
    if not given and not private:
        return ()
    from ..cloud.channel.channel_files import ChannelSetting  # slow to import
    from ..firmware.signing_keys import PrivateKey, PublicKey, load_private, load_public

    public: dict[str, list[PublicKey]] = {}
    signing: dict[str, PrivateKey] = {}
    try:
        for each in given:
            product, file = _product_file("--channel", each)
            public.setdefault(product, []).append(load_public(file))
        for each in private:
            product, file = _product_file("--channel-key", each)
            if product not in public:
                raise OptionError(
                    f"--channel-key needs --channel {product}=FILE with the public key of the "
                    "firmware"
                )
            if product in signing:
                raise OptionError(f"--channel-key names {product!r} twice")
            try:
                signing[product] = load_private(file, _passphrase)
            except ReleaseError as error:
                raise OptionError(
                    f"{error}. If the key has a passphrase, set IVOTA_PASSPHRASE"
                ) from None
    except ReleaseError as error:
        raise OptionError(str(error)) from None
    return tuple(
        ChannelSetting(product, tuple(keys), signing.get(product))
        for product, keys in public.items()
    )


def _passphrase() -> str:
    return os.environ.get("IVOTA_PASSPHRASE", "")


def _product_file(option: str, given: str) -> tuple[str, Path]:
    product, equals, file = given.partition("=")
    if not equals or not file:
        raise OptionError(f"{option} must be PRODUCT=FILE, not {given!r}")
    return product, Path(file)


def _authorities(given: Sequence[str]) -> dict[str, Path]:
    found = {}
    for each in given:
        product, file = _product_file("--device-ca", each)
        if product in found:
            raise OptionError(
                f"--device-ca names {product!r} twice: put both authorities into one file"
            )
        found[product] = file
    return found
