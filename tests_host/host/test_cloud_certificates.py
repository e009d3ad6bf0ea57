"""Devices that sign in with a certificate by their product's authority, until it is revoked."""

import datetime
import os
import socket
import ssl
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from waiting import WAIT_S

from ivota_tools.cloud import Certificate, Cloud, CloudError
from ivota_tools.cloud.mqtt.device_certificates import DeviceCertificates
from ivota_tools.cloud.store import models
from ivota_workshop.bench.reach.file_servers import issue_chain
from ivota_workshop.bench.reach.strict_client import MqttLink, NotUnderstood, StrictDevice

PRODUCT = "CERT000001"
BAD_PASSWORD = 4
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


class Authority:
    def __init__(self, folder, name, by=None):
        self.folder, self.file = folder, folder / f"{name}.pem"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key, by or self, authority=True)
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name, key, by, authority=False, days=5):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if by is self and authority else by.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 9 * DAY)
            .not_valid_after(NOW + days * DAY)
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .sign(by.key, hashes.SHA256())
        )

    def issue(self, name, days=5):
        """(certificate, a client's context that has it)"""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._sign(name, key, self, days=days)
        file = self.folder / f"{os.urandom(4).hex()}.pem"
        file.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.create_default_context(cafile=self.folder / "root.pem")
        context.load_cert_chain(file)
        return made, context

    def revoke(self, file, *certificates):
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(NOW - DAY)
            .next_update(NOW + DAY)
        )
        for each in certificates:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(each.serial_number)
                .revocation_date(NOW - DAY)
                .build()
            )
        new = file.with_suffix(".new")
        signed = builder.sign(self.key, hashes.SHA256())
        new.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        new.replace(file)


@pytest.fixture(scope="module", params=["a port for certificates", "one port for both"])
def stage(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    issue_chain(folder)
    top = Authority(folder, "the maker")
    product = Authority(folder, "a product", by=top)
    other = Authority(folder, "another product", by=top)
    product.revoke(folder / "list.pem")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with Cloud(
        folder / "c",
        sign_in=True,
        mqtt_port=port,
        psk_port=port if request.param.startswith("one") else 0,
        certificate=Certificate(folder / "chain.pem", folder / "leaf.key"),
        device_ca={PRODUCT: product.file, "OTHER": other.file},
        device_crl=[folder / "list.pem"],
    ) as cloud:
        yield cloud, product, other, top


@contextmanager
def link(cloud, context):
    with socket.create_connection(("127.0.0.1", cloud.mqtt_port), WAIT_S) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            yield MqttLink(secure)


def sign_in(cloud, context, client_id, *words):
    """CONNACK's code; -1 where TLS already refuses."""
    try:
        with link(cloud, context) as mqtt:
            return mqtt.connect(client_id, *words)
    except OSError:
        return -1


def test_the_certificate_says_who_it_is(stage):
    cloud, product, other, _ = stage
    me = PRODUCT + "dev"
    _, context = product.issue("dev")
    with link(cloud, context) as mqtt:
        assert mqtt.connect(me) == 0
        StrictDevice(mqtt, f"{PRODUCT}/dev").hello("0.1")
    assert sign_in(cloud, context, PRODUCT + "other") == BAD_PASSWORD
    assert sign_in(cloud, context, me, "somebody;1;2;3") == BAD_PASSWORD
    assert sign_in(cloud, context, me, f"{me};1;2;3", "00;hmacsha256") == BAD_PASSWORD
    # The same name by the other product's authority is the other product's device.
    _, theirs = other.issue("dev")
    assert sign_in(cloud, theirs, me) == BAD_PASSWORD
    assert sign_in(cloud, theirs, "OTHERdev") == 0


def test_who_is_let_in_by_no_certificate(stage):
    cloud, product, _, top = stage
    me = PRODUCT + "dev"
    stranger = Authority(product.folder, "a stranger")
    for issued in (stranger.issue("dev"), top.issue("dev"), product.issue("dev", days=-1)):
        assert sign_in(cloud, issued[1], me) == -1
    for name in ("a+b", "a;b", " " * 200):
        assert sign_in(cloud, product.issue(name[:64])[1], PRODUCT + name) in (4, -1)
    # Without one, the password decides.
    nobody = ssl.create_default_context(cafile=product.folder / "root.pem")
    assert sign_in(cloud, nobody, me) == BAD_PASSWORD


def test_a_revoked_one_is_cut_and_stays_out(stage):
    cloud, product, _, _ = stage
    lost, context = product.issue("lost")
    kept, fresh = product.issue("lost")
    with link(cloud, context) as mqtt, link(cloud, fresh) as second:
        assert mqtt.connect(PRODUCT + "lost") == 0
        product.revoke(product.folder / "list.pem", lost)
        with pytest.raises((NotUnderstood, OSError)):
            mqtt.next()
        assert second.connect(PRODUCT + "lost") == 0
    assert sign_in(cloud, context, PRODUCT + "lost") == BAD_PASSWORD
    # What is no list changes nothing: the one before still holds.
    (product.folder / "list.pem").write_text("nothing")
    assert sign_in(cloud, context, PRODUCT + "lost") == BAD_PASSWORD
    assert sign_in(cloud, fresh, PRODUCT + "lost") == 0
    product.revoke(product.folder / "list.pem")


def test_a_retired_device_stays_out(stage):
    cloud, product, _, _ = stage
    with cloud.database.writing() as session:
        session.add(models.Device(product_id=PRODUCT, device_name="old", status="retired"))
    assert sign_in(cloud, product.issue("old")[1], PRODUCT + "old") == BAD_PASSWORD
    with cloud.database.writing() as session:
        session.query(models.Device).filter_by(device_name="old").delete()


def test_what_is_asked_for(tmp_path):
    authority = Authority(tmp_path, "an authority")
    stranger = Authority(tmp_path, "a stranger")
    stranger.revoke(tmp_path / "list.pem")
    (tmp_path / "empty").touch()
    for options, said in (
        ({"device_ca": {"P": authority.file}}, "--device-ca needs"),
        ({"device_crl": [tmp_path / "list.pem"]}, "--device-crl needs"),
    ):
        with pytest.raises(CloudError, match=said):
            Cloud(tmp_path / "c", **options)
    for product, file, lists, said in (
        ("P", tmp_path / "empty", [], "contains no certificate"),
        ("P", tmp_path / "missing", [], "contains no certificate"),
        ("P/x", authority.file, [], "is not a valid product"),
        ("P", authority.file, [tmp_path / "empty"], "not a revocation list"),
        ("P", authority.file, [tmp_path / "list.pem"], "is not signed by any"),
    ):
        with pytest.raises(CloudError, match=said):
            DeviceCertificates({product: file}, lists)
