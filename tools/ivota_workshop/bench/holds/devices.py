"""MQTT: a flood, a full disk, a revoked secret, and the memory of a TLS connection."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import resource
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ivota_tools.api_client import Client

from ..console.stage import CloudProcess, wait_for
from ..figures import Figure
from .clients import PRODUCT, SECRET, Peak, acknowledged, broker_pid, memory_mib, report, sign_in

FLOOD = 1_000_000
HONEST = 240  # reports of another device at the same time
LATE = 500  # reports while the disk is full
DEVICES = 1000  # connected over TLS

_FLOODER = """
import sys
from ivota_workshop.bench.holds.clients import report, sign_in
with sign_in(int(sys.argv[1]), "flood") as link:
    many = 1000 * report("flood", "6")
    for _ in range(int(sys.argv[2]) // 1000):
        link.sendall(many)
    link.sendall(b"\\xe0\\0")
    link.recv(1)
"""


def enroll(api: Client, folder: Path, *names: str) -> None:
    """Enroll devices, so that they may sign in."""
    (folder / "x.bin").write_bytes(b"x")
    api.upload(folder / "x.bin", "0.2")
    for name in names:
        device = api.push(f"{PRODUCT}/{name}", "0.2", new=True)["device"]["id"]
        api.cancel_device(device)
        api.set_secret(device, SECRET)


def flood(folder: Path) -> dict[str, Figure]:
    with CloudProcess(folder / "data", "--mqtt-port", 0, "--sign-in") as cloud:
        enroll(cloud.api, folder, "flood", "other")
        port = cloud.said["mqtt_port"]
        began = time.monotonic()
        with sign_in(port, "other") as link, Peak(broker_pid(cloud.process.pid)) as peak:
            command = [sys.executable, "-c", _FLOODER, str(port), str(FLOOD)]
            flooder = subprocess.Popen(command)
            for number in range(1, HONEST + 1):
                link.sendall(report("other", f"n{number}", number))
                acknowledged(link, 1)
                time.sleep(0.1)
            flooder.wait()
        seconds = time.monotonic() - began
        number = cloud.api.device("other")["id"]
        with contextlib.suppress(RuntimeError):  # the figure shows a failure
            wait_for(lambda: len(cloud.api.reports(number)) >= HONEST, "all reports", 30)
        stored = {each["version"] for each in cloud.api.reports(number)}
    lost = HONEST - len(stored & {f"n{each}" for each in range(1, HONEST + 1)})
    return {
        "flood_messages": Figure(FLOOD, "", "messages"),
        "flood_others_acked": Figure(HONEST, "", "reports"),
        "flood_lost_acked": Figure(lost, "== 0", "reports"),
        "flood_broker_mib": Figure(round(peak.more, 1), "<= 64", "MiB"),
        "flood_s": Figure(round(seconds), "", "s"),
    }


def disk(folder: Path) -> dict[str, Figure]:
    """Stop the cloud's files from growing, as on a full disk; then make room again."""
    with CloudProcess(folder / "data", "--mqtt-port", 0, "--sign-in") as cloud:
        enroll(cloud.api, folder, "late")
        url, pid = cloud.said["api_url"], cloud.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        with sign_in(cloud.said["mqtt_port"], "late") as link:
            for number in range(1, LATE + 1):
                link.sendall(report("late", f"n{number}", number))
            wait_for(lambda: httpx.get(url + "/readyz").status_code == 503, "the problem", 60)
            acknowledged(link, LATE)
            infinite = resource.RLIM_INFINITY
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (infinite, infinite))
            number = cloud.api.device("late")["id"]
            with contextlib.suppress(RuntimeError):
                wait_for(lambda: len(cloud.api.reports(number)) >= LATE, "all reports", 60)
            stored = {each["version"] for each in cloud.api.reports(number)}
    return {"stored_after_disk_full": Figure(len(stored), f"== {LATE}", "reports")}


def revoked(folder: Path) -> dict[str, Figure]:
    """Measure how long a device's connection and an event stream outlive their revocation."""
    taken = []
    with CloudProcess(folder / "data", "--mqtt-port", 0, "--sign-in") as cloud:
        enroll(cloud.api, folder, "cut")
        number = cloud.api.device("cut")["id"]
        url = cloud.said["api_url"]
        admin = Client(url, cloud.api.create_token("bench", "admin")["token"])
        for _ in range(5):
            admin.set_secret(number, SECRET)
            time.sleep(0.5)
            with sign_in(cloud.said["mqtt_port"], "cut") as link:
                time.sleep(0.5)
                admin.remove_secret(number)
                taken.append(_ms(lambda link=link: link.recv(1)))
            made = admin.create_token("watcher", "viewer")
            headers = {"Authorization": f"Bearer {made['token']}"}
            with httpx.stream("GET", f"{url}/api/v1/events", headers=headers, timeout=60) as said:
                time.sleep(0.5)
                admin.remove_token(made["id"])
                taken.append(_ms(lambda said=said: list(said.iter_raw())))
    return {"revoked_cut_ms": Figure(round(max(taken)), "<= 1000", "ms")}


def _ms(wait: object) -> float:
    began = time.monotonic()
    with contextlib.suppress(OSError, httpx.HTTPError):
        wait()  # type: ignore[operator]
    return 1000 * (time.monotonic() - began)


def tls(folder: Path) -> dict[str, Figure]:
    chain, key = self_signed(folder)
    options = "--mqtt-port", 0, "--sign-in", "--tls-cert", chain, "--tls-key", key
    context = ssl.create_default_context(cafile=str(chain))
    context.check_hostname = False
    names = [f"d{number}" for number in range(DEVICES)]
    environment = {"SSL_CERT_FILE": str(chain)}
    with _environment(environment), CloudProcess(folder / "data", *options) as cloud:
        enroll(cloud.api, folder, "first", *names)
        port, pids = cloud.said["mqtt_port"], [cloud.process.pid, broker_pid(cloud.process.pid)]
        with contextlib.ExitStack() as stack:
            stack.enter_context(sign_in(port, "first", context))
            before = sum(memory_mib(pid) for pid in pids)
            lock, left = threading.Lock(), list(names)

            def connect() -> None:
                while True:
                    with lock:
                        if not left:
                            return
                        name = left.pop()
                    link = sign_in(port, name, context)
                    with lock:
                        stack.enter_context(link)

            threads = [threading.Thread(target=connect) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            more = sum(memory_mib(pid) for pid in pids) - before
    return {
        "tls_devices": Figure(DEVICES, "", "devices"),
        "tls_kib_per_device": Figure(round(1024 * more / DEVICES, 1), "<= 64", "KiB"),
    }


@contextlib.contextmanager
def _environment(words: dict[str, str]):  # type: ignore[no-untyped-def]
    import os

    before = dict(os.environ)
    os.environ.update(words)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, private
