"""What the cloud keeps of secrets, and how it compares what somebody says is one."""

from __future__ import annotations

import hmac
import stat
from pathlib import Path

import httpx
import pytest
from waiting import WAIT_S

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.downloads import signed_urls
from ivota_tools.cloud.mqtt import device_sign_in

S3CRET = "ivota_0123456789abcdefghijklmnopqrstuv"

NOW = 1_700_000_000.0


class Compared:
    """In the place of `hmac.compare_digest`: what it was asked, and what it shall answer."""

    def __init__(self, answer: bool) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self._answer = answer

    def __call__(self, given: bytes, right: bytes) -> bool:
        self.asked.append((given, right))
        return self._answer


@pytest.fixture(params=[True, False])
def compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Compared:
    made = Compared(request.param)
    monkeypatch.setattr(hmac, "compare_digest", made)
    return made


def test_a_url_is_compared_in_constant_time(compared: Compared):
    """Nothing but that comparison says whether a signature is right."""
    right = signed_urls.signature(b"secret", 7, int(NOW) + 9)
    for sign in (right, "x", "", right[:-1], right.upper(), "\udcff"):
        found = signed_urls.is_valid(b"secret", 7, str(int(NOW) + 9), sign, NOW)
        assert found is compared("", "")
    wanted = right.encode()
    assert {known for given, known in compared.asked if known} == {wanted}
    # Also of one that has expired, so that the answer's time says nothing of the signature.
    asked = len(compared.asked)
    assert not signed_urls.is_valid(b"secret", 7, str(int(NOW) - 9), right, NOW)
    assert len(compared.asked) == asked + 1


def test_a_sign_in_is_compared_in_constant_time(compared: Compared):
    user = f"Pd;12010126;12345;{int(NOW) + 9}"
    for digest in ("0" * 64, "", "x"):
        found = device_sign_in.is_signed("Pd", user, f"{digest};hmacsha256", "c2VjcmV0", NOW)
        assert found is compared(b"", b"")


def test_a_token_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Cloud(tmp_path / "c", token=S3CRET) as cloud:
        made = Compared(False)
        monkeypatch.setattr(hmac, "compare_digest", made)
        header = {"Authorization": f"Bearer {S3CRET}"}
        answer = httpx.get(f"{cloud.api_url}/api/v1/devices", headers=header, timeout=WAIT_S)
        monkeypatch.undo()
        assert answer.status_code == 401 and (S3CRET.encode(), S3CRET.encode()) in made.asked


def test_secrets_are_hashed_or_never_stored(tmp_path: Path):
    """Of tokens and passwords no byte lies in the data folder. What does: the devices' secrets,
    without which no sign-in could be computed, and this machine's own token, for its owner's eyes.
    """
    data = tmp_path / "c"
    with Cloud(data, token=S3CRET) as cloud:
        api = Client(cloud.api_url, token=S3CRET)
        made = api.create_token("ci", "admin")["token"]
        api.create_user("anna", "correct horse battery staple", "admin")
        assert Client(cloud.api_url, token=made).devices() == []
        files = {path.name: path for path in data.rglob("*") if path.is_file()}
        assert {"ivota.db", "ivota.db-wal", "api.token"} <= files.keys()
        for word in (made, made.removeprefix("ivota_"), S3CRET, "correct horse"):
            for path in files.values():
                assert word.encode() not in path.read_bytes(), (word, path)
        assert stat.S_IMODE((data / "api.token").stat().st_mode) == 0o600


def test_an_upload_beyond_the_limit_is_refused_before_it_is_kept(tmp_path: Path):
    with Cloud(tmp_path / "c", upload_most=1000) as cloud:
        url = f"{cloud.api_url}/api/v1/firmware?version=1"
        answer = httpx.post(url, content=bytes(1001), timeout=WAIT_S)
        assert answer.status_code == 413
        assert Client(cloud.api_url).firmware() == []
        assert not list((tmp_path / "c").rglob("*.bin"))


def test_loopback_only_unless_told_otherwise(tmp_path: Path):
    """What listens after a plain start: the console and the broker, at 127.0.0.1 alone."""
    with Cloud(tmp_path / "c") as cloud:
        for port in (cloud.http_port, cloud.mqtt_port):
            assert _addresses(port) == {"0100007F"}, port


def _addresses(port: int) -> set[str]:
    """Where this machine listens on a port, as /proc has it."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            address, _, number = line.split()[1].rpartition(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                found.add(address)
    return found
