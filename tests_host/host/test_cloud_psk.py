"""TLS with a pre-shared key, as the vendor's C SDKs sign in, by clients that others wrote."""

import base64
import socket
import ssl

import pytest
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Certificate, Cloud, CloudError
from ivota_tools.cloud.mqtt import psk_tls
from ivota_tools.cloud.store import models as store
from ivota_workshop.bench.reach import psk
from ivota_workshop.bench.reach.file_servers import issue_chain
from ivota_workshop.bench.reach.psk import KEY, PRODUCT, SDK
from ivota_workshop.bench.reach.strict_client import MqttLink

BAD_PASSWORD = 4


@pytest.fixture(scope="module")
def stage():
    with psk.stage() as made:
        for name in ("dev", "other"):
            made.add(name)
        yield made


@pytest.mark.parametrize(
    "options",
    [
        SDK,
        ("-tls1_2", "-cipher", "PSK-AES128-CBC-SHA"),
        ("-tls1_2", "-cipher", "PSK-AES256-CBC-SHA"),
        ("-tls1_3",),
    ],
)
def test_who_knows_the_key_is_served(stage, options):
    with stage.device("dev", *options) as device:
        device.hello("0.1")
        assert device.pushed().file_size == len(stage.data)


def test_a_whole_update_of_a_new_device_without_a_restart(stage):
    assert psk.updates(stage, "new")
    wait_until(lambda: stage.api.device(f"{PRODUCT}/new")["state"] == "done", "done")


@pytest.mark.parametrize("who", ["dev", "nobody"])
def test_a_wrong_key_and_an_unknown_identity_look_alike(stage, who):
    with stage.link(PRODUCT + who, b"another key of 16") as link:
        assert link.connect(PRODUCT + who) == -1


def test_identity_and_connect_are_one_device(stage):
    me, other = PRODUCT + "dev", PRODUCT + "other"
    for client_id, user, password in (
        (other, "", ""),
        (me, f"{other};12010126;Ab3dE;2147483647", ""),
        (me, f"{me};12010126;Ab3dE;2147483647", "00;hmacsha256"),
        ("", "", ""),
    ):
        with stage.link(me) as link:
            assert link.connect(client_id, user, password) == BAD_PASSWORD, client_id
    with stage.link(me) as link:
        assert link.connect(me) == 0


def test_mosquittos_own_client(stage):
    me = PRODUCT + "dev"
    assert stage.publish(me, me)
    assert not stage.publish(me, me, b"another key of 16")
    assert not stage.publish(PRODUCT + "nobody", PRODUCT + "nobody")
    assert not stage.publish(PRODUCT + "other", me)


def test_topics_are_the_devices_own(stage):
    with stage.device("dev") as device:
        device.mqtt.publish(f"$ota/report/{PRODUCT}/other", '{"type":"report_version","report":'
                            '{"version":"6.6"}}')  # fmt: skip
        device.hello("0.1")
    assert stage.api.device(f"{PRODUCT}/other")["version"] != "6.6"


def test_a_removed_one_is_cut(stage):
    psk.removed_cut_s(stage, "removed")
    with stage.link(PRODUCT + "removed") as link:
        assert link.connect(PRODUCT + "removed") == -1


def test_one_identity_is_one_device(stage):
    """The key is looked up by the identity alone."""
    with pytest.raises(ApiError, match="signs in with the same client id"):
        stage.add("dev"[1:], product=PRODUCT + "d")


def test_one_port_for_certificates_and_keys(tmp_path):
    issue_chain(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    certificate = Certificate(tmp_path / "chain.pem", tmp_path / "leaf.key")
    with (
        Cloud(
            tmp_path / "c", sign_in=True, mqtt_port=port, psk_port=port, certificate=certificate
        ) as cloud,
        Client("https://never-asked") as api,
    ):
        assert cloud.psk_port == cloud.mqtt_port == port
        with cloud.database.writing() as session:
            secret = base64.b64encode(KEY).decode()
            session.add(store.Device(product_id=PRODUCT, device_name="dev", secret=secret))
        made = psk.Stage(cloud, api, b"")
        for options in (SDK, ("-tls1_3",)):
            with made.link(PRODUCT + "dev", KEY, *options) as link:
                assert link.connect(PRODUCT + "dev") == 0
        # Without a key, by the certificate: then the password decides.
        context = ssl.create_default_context(cafile=tmp_path / "root.pem")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.maximum_version = version
            with socket.create_connection(("127.0.0.1", port), WAIT_S) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as link:
                    assert MqttLink(link).connect(PRODUCT + "dev") == BAD_PASSWORD


def test_it_needs_the_sign_in(tmp_path):
    with pytest.raises(CloudError, match="--sign-in"):
        Cloud(tmp_path, psk_port=0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CloudError, match="--psk-port"):
            Cloud(tmp_path / "c", sign_in=True, psk_port=port).start()


def test_who_says_nothing_is_cut(stage, monkeypatch):
    monkeypatch.setattr(psk_tls, "HANDSHAKE_S", 0.2)
    with socket.create_connection(("127.0.0.1", stage.cloud.psk_port), 20) as link:
        assert link.recv(1) == b""
    with socket.create_connection(("127.0.0.1", stage.cloud.psk_port), 20) as link:
        link.sendall(b"\x10\x0cthis is MQTT without TLS")
        while link.recv(100):
            pass
