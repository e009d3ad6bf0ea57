"""Find programs that npm installs, for tests; Node.js itself must be on PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

from .cache import ToolchainError, cached
from .program_launch import run

AEDES = "aedes@1.2.0"
DCLINT = "dclint@3.1.0"
OIDC_PROVIDER = "oidc-provider@9.13.3"


def aedes() -> Path:
    """Return a folder whose node_modules has the MQTT broker aedes. Raises ToolchainError."""
    return _installed("aedes", AEDES)


def dclint() -> Path:
    """Return dclint, which checks Compose files. Raises ToolchainError."""
    return _installed("dclint", DCLINT) / "node_modules" / ".bin" / "dclint"


def oidc_provider() -> Path:
    """Return a folder whose node_modules has oidc-provider, an OpenID Connect provider.

    Raises ToolchainError.
    """
    return _installed("oidc-provider", OIDC_PROVIDER)


def has_node() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def _installed(name: str, package: str) -> Path:
    if not has_node():
        raise ToolchainError(f"{name} needs Node.js: install node and npm and put them on PATH")
    options = ("--ignore-scripts", "--no-audit", "--no-fund")
    return cached(name, lambda new: run("npm", "install", "--prefix", str(new), *options, package))
