"""Read the configuration again on SIGHUP, without a restart."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from ..common import log_output
from . import cloud_arguments, cloud_config

if TYPE_CHECKING:
    from ..cloud import Cloud

log = logging.getLogger("ivota.cloud")

RELOADABLE = ("access_log", "keep_audit", "keep_reports", "public_url", "url_ttl")


def reload(ctx: typer.Context, before: dict[str, Any], cloud: Cloud) -> dict[str, Any]:
    """Apply what has changed; return the options that are in use now.

    If anything is not valid, the log gives the reason and nothing changes.
    """
    from ..cloud import CloudError

    try:
        asked = cloud_config.read_again(ctx)
        options = cloud_arguments.of_cloud(asked, ctx.info_name)
        cloud.reload_certificate()
        if options["public_url"]:
            cloud.public_url = options["public_url"]
    except (CloudError, cloud_arguments.OptionError) as error:
        log.error("the configuration was not reloaded: %s", error)
        return before
    except Exception as error:  # typer's own errors have no public name
        log.error("the configuration was not reloaded: %s", _message(error))
        return before
    cloud.url_ttl_s = options["url_ttl_s"]
    cloud.set_keep(options["keep_s"], options["keep_audit_s"])
    log_output.set_access(asked["access_log"])
    changed = [name for name in asked if asked[name] != before.get(name)]
    done = [name for name in changed if name in RELOADABLE]
    waits = [name for name in changed if name not in RELOADABLE]
    log.info(
        "reloaded the configuration%s%s",
        " and the certificate" if options["certificate"] else "",
        f"; changed: {', '.join(done)}" if done else "",
    )
    if waits:
        log.warning("restart the cloud to apply: %s", ", ".join(waits))
    return {**before, **{name: asked[name] for name in done}}


def _message(error: Exception) -> str:
    said: Mapping[str, Any] = vars(error)
    return str(said.get("message") or error or type(error).__name__)
