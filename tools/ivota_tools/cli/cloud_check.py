"""`ivota cloud check-config`: check the configuration and show it, without its secrets."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from . import cloud_arguments, cloud_config
from .terminal import AsJson, cell, err, fail, out, print_json, titled_table, warn

EXPIRES_S = 14 * 86400.0
HIDDEN = "(set)"


def check(ctx: typer.Context, asked: Mapping[str, Any], as_json: AsJson) -> None:
    """Print each setting with its source; exit with code 1 if the cloud could not start."""
    with err.status("checking"):
        from ..cloud import Cloud, CloudError
        from ..cloud.accounts.authorization import check_exposure
        from ..cloud.store.file_store_settings import open_store

    try:
        options = cloud_arguments.of_cloud(asked, ctx.info_name)
        warnings = check_exposure(
            asked["host"],
            asked["public_url"],
            options["token"],
            own_broker=asked["broker"] is None and not asked["sign_in"],
        )
        Cloud(**options)
        if options["store"]:
            open_store(options["store"], options["folder"])
        certificate = options["certificate"]
        if certificate:
            certificate.context()
            warnings += _expiry(certificate.expires(), certificate.chain)
    except (CloudError, cloud_arguments.OptionError) as error:
        fail(str(error))
    warnings += [
        f"other users can read {file}, which contains a secret: run chmod 600 {file}"
        for file in cloud_arguments.secret_files(asked)
        if _is_open(file)
    ]
    known = dict(cloud_config.keys(ctx.command)) | {"token": None}
    settings = [
        {
            "name": name,
            "value": _shown(name, asked[name]),
            "source": cloud_config.source(ctx, name),
        }
        for name in known
        if asked[name] not in (None, ())
    ]
    if as_json:
        print_json({"settings": settings, "warnings": warnings})
        return
    table = titled_table("", "setting", "value", "source")
    for each in settings:
        value = each["value"] if isinstance(each["value"], str) else json.dumps(each["value"])
        table.add_row(cell(each["name"]), cell(value), cell(each["source"]))
    out.print(table)
    for sentence in warnings:
        warn(sentence)


def _shown(name: str, value: Any) -> Any:
    if name == "token":
        return HIDDEN
    if name == "webhook":  # their paths are often secrets
        return [urlsplit(url).hostname for url in value]
    if name in ("database", "broker"):
        before, at, after = str(value).rpartition("@")
        scheme, found, _ = before.rpartition("://")
        return f"{scheme}{found}…@{after}" if at else value
    if isinstance(value, (list, tuple)):
        return [str(each) for each in value]
    return value if isinstance(value, (bool, int, float)) else str(value)


def _expiry(expires: float, chain: Path) -> list[str]:
    left = expires - time.time()
    if left < 0:
        return [f"the certificate {chain} has expired"]
    if left < EXPIRES_S:
        return [f"the certificate {chain} expires in {left / 86400:.0f} days"]
    return []


def _is_open(file: Path) -> bool:
    try:
        return bool(stat.S_IMODE(os.stat(file).st_mode) & stat.S_IROTH)
    except OSError:
        return False
