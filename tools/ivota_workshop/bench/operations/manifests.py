"""Check the files of deploy/ with the programs that know their formats."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.toolchain import node_packages, web_servers
from ivota_tools.toolchain.load_balancer import haproxy

from ... import beside
from ..holds.devices import self_signed

DEPLOY = CHECKOUT / "deploy"


def checks() -> dict[str, Callable[[], str]]:
    """Return a check for each file: it returns what is wrong, or "" if nothing is."""
    tools = beside.tools()
    schema = str(DEPLOY / "ivota-cloud.schema.json")
    json_schema, kubernetes = str(tools / "check-jsonschema"), str(tools / "kubernetes-validate")
    found: dict[str, Callable[[], str]] = {
        "Containerfile": lambda: _run(str(tools / "hadolint"), "Containerfile"),
        "compose.yaml": lambda: (
            _run(json_schema, "--builtin-schema", "vendor.compose-spec", "compose.yaml")
            or _run(
                *(str(node_packages.dclint()), "--config", ".dclintrc.yaml"),
                *("--max-warnings", "0", "compose.yaml"),
            )
        ),
        "ivota-cloud.schema.json": lambda: _run(json_schema, "--check-metaschema", schema),
        "ivota.toml": lambda: _run(json_schema, "--schemafile", schema, "ivota.toml"),
        "nginx.conf": _nginx,
        "haproxy.cfg": _haproxy,
    }
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        name = str(path.relative_to(DEPLOY))
        found[name] = lambda name=name: _run(kubernetes, "--strict", "--quiet", name)  # type: ignore[misc]
    if shutil.which("systemd-analyze"):
        for path in sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")]):
            found[path.name] = lambda path=path: _unit(path)  # type: ignore[misc]
    return found


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def _unit(path: Path) -> str:
    """Check a unit; ignore errors about its user and its program, which this machine lacks."""
    with tempfile.TemporaryDirectory() as name:
        for each in (path, *DEPLOY.glob("*.service")):
            shutil.copy(each, name)
        command = ["systemd-analyze", "verify", str(Path(name, path.name))]
        said = subprocess.run(command, capture_output=True, text=True).stderr
    wrong = ("Unknown", "Failed to parse", "Invalid")
    return "\n".join(line for line in said.splitlines() if any(word in line for word in wrong))


def _nginx() -> str:
    """Let Debian's nginx read the part for HTTP, with a test certificate and address."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chain, key = self_signed(folder)
        text = (DEPLOY / "nginx.conf").read_text().partition("stream {")[0]
        text = text.replace("/etc/nginx/certificate/fullchain.pem", str(chain))
        text = text.replace("/etc/nginx/certificate/privkey.pem", str(key))
        text = text.replace("cloud:8123", "127.0.0.1:8123")
        file = folder / "nginx.conf"
        kinds = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"
        paths = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
        text = text.replace("http {", f"http {{ {paths}access_log off;")
        file.write_text(f"pid {folder}/pid; error_log stderr;\n{text}")
        return _run(*web_servers.nginx(), "-t", "-q", "-p", name, "-c", str(file))


def _haproxy() -> str:
    """Let Debian's HAProxy read the file, with a test certificate."""
    with tempfile.TemporaryDirectory() as name:
        file, certificate = Path(name, "haproxy.cfg"), Path(name, "certificate.pem")
        chain, key = self_signed(Path(name))
        certificate.write_bytes(chain.read_bytes() + key.read_bytes())
        text = (DEPLOY / "haproxy.cfg").read_text()
        file.write_text(text.replace("/etc/haproxy/certificate.pem", str(certificate)))
        return _run(*haproxy(), "-c", "-q", "-f", str(file))
