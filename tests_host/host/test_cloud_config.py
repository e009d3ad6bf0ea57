"""The configuration of `ivota cloud`: file, environment, options, and SIGHUP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

from ivota_tools.cli import app, cloud_config
from ivota_tools.cloud import ProcessKind
from ivota_tools.common import project_files
from ivota_workshop.bench.holds.devices import self_signed

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ivota.toml"


def check(file, *words, **environment):
    done = CliRunner(env={"COLUMNS": "200", **environment}).invoke(
        app.app, ["cloud", "check-config", "--config", str(file), *words]
    )
    return done


def settings(*given, **environment):
    done = check(*given, "--json", **environment)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["settings"]
    return {each["name"]: (each["value"], each["source"]) for each in found}


def test_options_override_the_environment_which_overrides_the_file(file):
    file.write_text('port = 1\nurl_ttl = 60\nkeep_reports = "90d"\ntrusted_proxy = ["10.0.0.0/8"]')
    environment = {"IVOTA_CLOUD_PORT": "2", "IVOTA_CLOUD_URL_TTL": "120"}
    found = settings(file, "--port", "3", **environment)
    assert found["port"] == (3, "command line") and found["url_ttl"] == (120, "environment")
    assert found["keep_reports"] == ("90d", "file")
    assert found["trusted_proxy"] == (["10.0.0.0/8"], "file")
    assert found["host"] == ("127.0.0.1", "default")


def test_secrets_come_from_files_and_are_not_shown(tmp_path, file):
    secret = tmp_path / "secret"
    secret.write_text("postgresql://ivota:hunter2@db/ivota\n")
    secret.chmod(0o644)
    file.write_text(f'database_file = "{secret}"\nbroker = "me:hunter3@broker:1883"')
    done = check(file, IVOTA_TOKEN="ivota_0123456789abcdefghijklmnopqrstuv")
    assert done.exit_code == 0, done.output
    assert "hunter" not in done.output and "0123456789" not in done.output
    assert f"other users can read {secret}" in done.output.replace("\n", "")
    secret.chmod(0o600)
    assert "other users" not in check(file).output
    done = check(file, IVOTA_DATABASE="postgresql://x/y")
    assert done.exit_code == 1 and "either --database or --database-file" in done.output


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('hosst = "x"', "hosst is not a setting; did you mean host?"),
        ('config = "x"', "config is not a setting"),
        ('port = "80"', "port must be a whole number"),
        ("port = true", "port must be a whole number"),
        ('sign_in = "no"', "sign_in must be true or false"),
        ("device_crl = [1]", "device_crl must be a list of strings"),
        ('[port]\nx = "1"', "port must be a whole number"),
        ('token = "x"', "must not contain token: write the secret to a file, and set token_file"),
        ("port = [", "is not TOML"),
        ("x = " + "[" * 100_000, "is not TOML"),
        ("port = 65536", "less than or equal to 65535"),
        ('keep_audit = "soon"', "--keep-audit: 'soon' is not a valid duration"),
        ('tls_cert = "x"', "--tls-cert and --tls-key must be used together"),
        ('tls_cert = "x"\ntls_key = "y"', "cannot read x"),
        ('token_file = "/none"', "--token-file: cannot read /none"),
        ('host = "0.0.0.0"', "to specify the address"),
        ("psk_port = 1", "--psk-port needs --sign-in"),
    ],
)
def test_what_is_wrong_is_said(file, text, why):
    file.write_text(text)
    done = check(file)
    assert done.exit_code != 0 and why in done.output, done.output
    assert not isinstance(done.exception, Exception) or done.exception.code


def test_the_example_is_right(file, tmp_path):
    chain, key = self_signed(tmp_path)
    (tmp_path / "token").write_text("ivota_0123456789abcdefghijklmnopqrstuv")
    text = (DEPLOY / "ivota.toml").read_text()
    for name, path in (("fullchain.pem", chain), ("privkey.pem", key), ("token", "token")):
        text = text.replace(f"/etc/ivota/{name}", str(tmp_path / path))
    file.write_text(text)
    done = check(file)
    assert done.exit_code == 0 and "expires in" in done.output, done.output


def test_the_manifests_use_settings_that_there_are(file):
    """`make bench-operations` checks their formats."""
    command = typer.main.get_command(app.app).commands["cloud"]
    known = {f"{cloud_config.PREFIX}_{name.upper()}" for name, _ in cloud_config.keys(command)}
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["cloud"]
    image = (DEPLOY / "Containerfile").read_text()
    named = {*compose["environment"], *re.findall(r"IVOTA_\w+", image)}
    assert len(named) > 5 and named <= known
    assert compose["read_only"] and re.search(r"^USER 10001$", image, re.M)
    for name in ("ivota", "cell"):
        manifests = (DEPLOY / "kubernetes" / f"{name}.yaml").read_text()
        parts = list(yaml.safe_load_all(manifests))
        (settings,) = (each["data"] for each in parts if each["kind"] == "ConfigMap")
        file.write_text(settings["ivota.toml"])
        config = cloud_config.read(file, command)
        running = [each for each in parts if each["kind"] in ("StatefulSet", "Deployment")]
        for each in running:
            (container,) = each["spec"]["template"]["spec"]["containers"]
            assert container["image"] == f"ivota:{project_files.version()}"
            assert container["args"][0] in typer.main.get_command(app.app).commands
            ports = {each["name"]: each["containerPort"] for each in container["ports"]}
            assert ports.pop("https") == config["port"]
            assert set(ports.values()) <= {config["mqtt_port"]}
            mounts = tuple(each["mountPath"] for each in container["volumeMounts"])
            for name in ("data", "tls_cert", "tls_key", "token_file"):
                assert config[name].startswith(mounts), name
        if len(running) > 1:  # a cell: its processes need the same settings
            for kind in (ProcessKind.INTAKE, ProcessKind.CONSOLE):
                kind.check(
                    database="postgresql://h/d",
                    broker=config["broker"],
                    rabbitmq=config["broker"].startswith("amqp://"),
                    public_url=config["public_url"],
                )


@contextlib.contextmanager
def process(folder, file):
    command = [sys.executable, "-m", "ivota_tools", "cloud", "--json", "--config", str(file)]
    log = folder / "log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IVOTA")}
    with log.open("w") as stderr:
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
        )
    try:
        line = running.stdout.readline()
        assert line, log.read_text()
        yield running, json.loads(line), log.read_text
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=WAIT_S)


@pytest.mark.parametrize("more", ["", "sign_in = true", "sign_in = true\npsk_port = {port}"])
def test_a_hang_up_loads_the_new_certificate(tmp_path, file, more):
    """On every port, and without a restart; a wrong one changes nothing."""
    chain, key = self_signed(tmp_path)
    port = 0
    if "psk" in more:  # one port for both
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    text = f'port = 0\nmqtt_port = {port}\ntls_cert = "{chain}"\ntls_key = "{key}"\n'
    text += f'data = "{tmp_path / "data"}"\n{more.format(port=port)}\n'
    file.write_text(text)
    with process(tmp_path, file) as (running, said, log):
        ports = int(said["api_url"].rpartition(":")[2]), said["mqtt_port"]

        def served():
            return {ssl.get_server_certificate(("127.0.0.1", each)) for each in ports}

        before = served()
        assert before == {chain.read_text()}
        good = key.read_bytes()
        key.write_text("no key")
        running.send_signal(signal.SIGHUP)
        wait_until(lambda: "was not reloaded" in log(), "the refusal")
        assert served() == before
        key.write_bytes(good)
        self_signed(tmp_path)
        file.write_text(text + 'keep_reports = "9d"\nmax_upload = 5\n')
        running.send_signal(signal.SIGHUP)
        wait_until(lambda: served() == {chain.read_text()}, "the new certificate")
        assert before != served()
        wait_until(lambda: "restart the cloud to apply: max_upload" in log(), "the rest")
        assert "reloaded the configuration and the certificate; changed: keep_reports" in log()
        file.write_text("x = 1")
        running.send_signal(signal.SIGHUP)
        wait_until(lambda: "x is not a setting" in log(), "the reason")
        assert running.poll() is None
