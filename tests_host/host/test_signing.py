"""Signed firmware: its bytes, its keys, and what is answered to all that is not quite it."""

import hashlib
import json
import stat
import struct
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from ivota_tools.cli import app as cli
from ivota_tools.firmware import bundle, release, signed_file
from ivota_tools.firmware.release import ReleaseError, Signer
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private, load_public

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two key pairs, `owner` and `other`, in files; the owner's is encrypted."""
    folder = tmp_path_factory.mktemp("keys")
    generate(folder / "owner.key", PASSPHRASE)
    generate(folder / "other.key", None)
    return folder


@pytest.fixture(scope="module")
def owner(keys) -> PrivateKey:
    return load_private(keys / "owner.key", lambda: PASSPHRASE)


@pytest.fixture(scope="module")
def other(keys) -> PrivateKey:
    return load_private(keys / "other.key", lambda: "")


@pytest.fixture
def app(tmp_path):
    """An application that brings its own library."""
    folder = tmp_path / "blinky"
    (folder / "lib" / "ivota").mkdir(parents=True)
    (folder / "lib" / "ivota" / "__init__.py").write_text("")
    (folder / "app.py").write_text("def main():\n    pass\n")
    return folder


# --- keys


def test_a_key_is_for_its_owner_alone(keys, owner):
    path = keys / "owner.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert (keys / "other.key").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert load_public(keys / "owner.pub") == owner.public
    for wrong in ("", "correct horse "):
        with pytest.raises(ReleaseError, match="passphrase"):
            load_private(path, lambda wrong=wrong: wrong)


def test_a_public_key_is_what_a_board_expects(keys, owner):
    """422 bytes of DER in which the modulus has a fixed place."""
    der = (keys / "owner.pub").read_bytes()
    assert len(der) == 422
    assert der[:33].hex() == ("308201a2300d06092a864886f70d01010105000382018f003082018a0282018100")
    modulus = owner.key.public_key().public_numbers().n
    assert int.from_bytes(der[33:417], "big") == modulus and modulus.bit_length() == 3072
    assert der[417:].hex() == "0203010001"
    assert owner.public.id == hashlib.sha256(der).hexdigest()[:16]


def test_a_key_is_never_overwritten(keys, tmp_path):
    before = (keys / "owner.key").read_bytes()
    with pytest.raises(ReleaseError, match="owner.key already exists"):
        generate(keys / "owner.key", None)
    assert (keys / "owner.key").read_bytes() == before
    (tmp_path / "new.pub").write_bytes(b"")
    with pytest.raises(ReleaseError, match="new.pub already exists"):
        generate(tmp_path / "new.key", None)
    with pytest.raises(ReleaseError, match="without .pub"):
        generate(tmp_path / "fresh.pub", None)
    with pytest.raises(ReleaseError, match="passphrase is empty"):
        generate(tmp_path / "fresh.key", "")
    assert [path.name for path in tmp_path.iterdir()] == ["new.pub"]


def test_keys_of_another_kind_are_refused(tmp_path, owner):
    numbers = rsa.generate_private_key(3, 3072), rsa.generate_private_key(65537, 2048)
    for key in (*numbers, ec.generate_private_key(ec.SECP256R1())):
        private, public = tmp_path / "x.key", tmp_path / "x.pub"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        spki = PublicFormat.SubjectPublicKeyInfo
        for encoding in (Encoding.PEM, Encoding.DER):
            public.write_bytes(key.public_key().public_bytes(encoding, spki))
            with pytest.raises(ReleaseError, match="3072 bits"):
                load_public(public)
        with pytest.raises(ReleaseError, match="3072 bits"):
            load_private(private, lambda: "")
    for junk in (b"", b"junk", b"-----BEGIN PUBLIC KEY-----\n", owner.public.der[:-1]):
        (tmp_path / "x.pub").write_bytes(junk)
        with pytest.raises(ReleaseError, match="not a public key"):
            load_public(tmp_path / "x.pub")
    with pytest.raises(ReleaseError, match="cannot read"):
        load_public(tmp_path / "none")
    with pytest.raises(ReleaseError, match="cannot read"):
        load_private(tmp_path / "none", lambda: "")


def test_a_public_key_in_pem_is_the_same(tmp_path, owner):
    spki = PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "x.pem").write_bytes(owner.key.public_key().public_bytes(Encoding.PEM, spki))
    assert load_public(tmp_path / "x.pem") == owner.public


# --- the file


def test_the_bytes_of_a_signed_firmware(owner):
    """The format, byte by byte: boards in the field read exactly this."""
    payload = b"motor firmware"
    data = Signer(owner, 7, "motor", 1_700_000_000).sign(payload, "0.2", "other")
    header = (
        b'{"key":"' + owner.public.id.encode() + b'","kind":"other","sequence":7,"sha256":"'
        + hashlib.sha256(payload).hexdigest().encode()
        + b'","size":14,"target":"motor","time":1700000000,"v":1,"version":"0.2"}'
    )  # fmt: skip
    assert data.startswith(payload + header)
    signature, footer = data[len(payload + header) : -12], data[-12:]
    assert footer == struct.pack("<HH", len(header), 384) + b"IVOTASIG"
    block = pow(int.from_bytes(signature, "big"), 65537, owner.key.public_key().public_numbers().n)
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    expected = b"\0\1" + b"\xff" * 330 + b"\0" + info + hashlib.sha256(header).digest()
    assert block.to_bytes(384, "big") == expected
    assert Signer(owner, 7, "motor", 1_700_000_000).sign(payload, "0.2", "other") == data


def test_openssl_agrees(tmp_path, owner, keys):
    data = Signer(owner, 1).sign(b"payload", "1", "other")
    payload, trailer = signed_file.split(data)
    assert payload == b"payload"
    (tmp_path / "signed").write_bytes(trailer.signed)
    (tmp_path / "signature").write_bytes(trailer.signature)
    command = ["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", keys / "owner.pub"]
    done = subprocess.run(
        [*command, "-signature", tmp_path / "signature", tmp_path / "signed"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "Verified OK\n", done


def test_every_changed_byte_is_found(owner):
    data = Signer(owner, 1, "t").sign(bytes(64), "1", "other")
    assert signed_file.verify(data, [owner.public]).header.sequence == 1
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        with pytest.raises(ReleaseError):
            signed_file.verify(bytes(changed), [owner.public])
    for wrong in (data[:-1], data[1:], data + b"\0", data[:-12], b"", signed_file.MAGIC):
        with pytest.raises(ReleaseError):
            signed_file.verify(wrong, [owner.public])


def test_only_a_trusted_key_counts(owner, other):
    data = Signer(owner, 1).sign(b"x", "1", "other")
    assert signed_file.verify(data, [other.public, owner.public])
    with pytest.raises(ReleaseError, match=f"names the key {owner.public.id}"):
        signed_file.verify(data, [other.public])
    with pytest.raises(ReleaseError, match="not signed"):
        signed_file.verify(b"x", [owner.public])


def framed(header: bytes, header_size=None, signature=bytes(384), size=None) -> bytes:
    sizes = struct.pack("<HH", header_size or len(header), size or len(signature))
    return b"payload" + header + signature + sizes + b"IVOTASIG"


def good_header(**changes) -> bytes:
    header = {
        "v": 1,
        "version": "1",
        "sequence": 1,
        "target": None,
        "kind": "other",
        "size": 7,
        "sha256": hashlib.sha256(b"payload").hexdigest(),
        "time": 0,
        "key": "0" * 16,
        **changes,
    }
    return json.dumps({k: v for k, v in header.items() if v != "left out"}).encode()


def test_a_frame_of_any_shape():
    assert signed_file.split(framed(good_header()))[0] == b"payload"
    for header in (b"", b"{}", b"[]", b"5", b"null", b"\xff", b"{" * 500, b"[" * 512):
        with pytest.raises(ReleaseError, match="damaged"):
            signed_file.split(framed(header))
    for key in ("v", "version", "sequence", "target", "kind", "size", "sha256", "time", "key"):
        for value in ("left out", [], {}, 1.5, True, -1, 1 << 63, 10**400):
            if key == "size" and value in (-1, 1 << 63):
                continue
            with pytest.raises(ReleaseError, match="damaged"):
                signed_file.split(framed(good_header(**{key: value})))
    # A size that is a number, however wrong, is told by the payload.
    for size in (-1, 1 << 63):
        assert not signed_file.fits(*signed_file.split(framed(good_header(size=size))))
    with pytest.raises(ReleaseError, match="damaged"):
        signed_file.split(framed(good_header(more=1)))
    for sizes in ((513, 384), (65535, 384), (300, 383), (300, 65535), (0, 0)):
        with pytest.raises(ReleaseError, match="damaged"):
            signed_file.split(framed(b" " * 300, *sizes[:1], bytes(384), sizes[1]))


def test_what_is_signed_has_its_limits(owner):
    for sequence in (0, -1, 1 << 32):
        with pytest.raises(ReleaseError, match="sequence"):
            Signer(owner, sequence)
    for target in ("", "x" * 33, "\n", "\ud800"):
        with pytest.raises(ReleaseError, match="target"):
            Signer(owner, 1, target)
    with pytest.raises(ReleaseError, match="time"):
        Signer(owner, 1, None, -1)
    with pytest.raises(ReleaseError, match="version"):
        Signer(owner, 1).sign(b"x", "x" * 33, "other")
    longest = Signer(owner, (1 << 32) - 1, "\U0001f600" * 32, 1 << 40)
    data = longest.sign(b"x", "\U0001f600" * 32, "esp32-image")
    assert len(signed_file.verify(data, [owner.public]).signed) > 450


# --- releases


def test_a_signed_bundle(app, tmp_path, owner):
    plain = release.pack(app, "0.2", out=tmp_path / "plain.bin", pad_to=20_000)
    signer = Signer(owner, 5, "blinky")
    made = release.pack(app, "0.2", out=tmp_path / "x.bin", pad_to=20_000, signer=signer)
    data = made.path.read_bytes()
    assert (made.kind, made.size) == ("bundle", 20_000) and len(data) == 20_000
    assert 19_000 < made.payload_size < 20_000 and made.archive_size == plain.archive_size
    assert data[: made.payload_size] == plain.path.read_bytes()[: made.payload_size]
    assert (made.md5, made.sha256) == (
        hashlib.md5(data).hexdigest(),
        hashlib.sha256(data).hexdigest(),
    )
    assert made.signed == signed_file.verify(data, [owner.public]).header
    assert (made.signed.version, made.signed.sequence) == ("0.2", 5)
    assert (made.signed.target, made.signed.time) == ("blinky", 0)
    again = release.pack(app, "0.2", out=tmp_path / "y.bin", pad_to=20_000, signer=signer)
    assert again.sha256 == made.sha256


def test_a_file_of_exactly_so_many_bytes(owner):
    signer = Signer(owner, 5, "t")
    least = len(signer.sign(b"", "1", "other"))
    missed = 0
    for size in [*range(least, least + 12), *range(least + 95, least + 1010), 708_482]:
        try:
            payload = signer.payload_size(size, "1", "other")
        except ReleaseError:
            missed += 1  # one digit more in the header, and one byte fewer for the payload
        else:
            assert len(signer.sign(bytes(payload), "1", "other")) == size
    assert missed == 3
    for size in (0, least - 1):
        with pytest.raises(ReleaseError, match="the signature alone is larger"):
            signer.payload_size(size, "1", "other")


def test_a_payload_that_was_not_signed_is_no_release(app, tmp_path, owner):
    made = release.pack(app, "0.2", out=tmp_path / "x.bin", pad_to=20_000, signer=Signer(owner, 5))
    data = bytearray(made.path.read_bytes())
    data[18_000] ^= 1
    made.path.write_bytes(data)
    with pytest.raises(ReleaseError, match="does not match the signed SHA-256"):
        release.inspect(made.path)
    archive = bundle.build({"app.mpy": b"M"}, "a", "1")
    for version, kind, why in (
        ("2", "bundle", "but is signed as '2'"),
        ("1", "other", "of kind bundle, but is signed as"),
    ):
        made.path.write_bytes(Signer(owner, 5).sign(archive, version, kind))
        with pytest.raises(ReleaseError, match=why):
            release.inspect(made.path)


def test_going_back_on_purpose(app, tmp_path, owner, other):
    old = release.pack(app, "0.1", out=tmp_path / "1.bin", signer=Signer(owner, 1, "t", 5))
    made = release.sign(old.path, Signer(other, 3), out=tmp_path / "3.bin", again=True)
    payload, trailer = signed_file.split(made.path.read_bytes())
    assert payload == signed_file.split(old.path.read_bytes())[0]
    assert trailer.header.sequence == 3 and trailer.header.key == other.public.id
    assert (made.signed.target, made.signed.version, made.signed.time) == ("t", "0.1", 0)
    moved = release.sign(old.path, Signer(other, 3, "u"), out=tmp_path / "3.bin", again=True)
    assert moved.signed.target == "u"
    with pytest.raises(ReleaseError, match="--resign"):
        release.sign(old.path, Signer(owner, 3), out=tmp_path / "x.bin")
    plain = release.pack(app, "0.1", out=tmp_path / "plain.bin")
    with pytest.raises(ReleaseError, match="not signed yet"):
        release.sign(plain.path, Signer(owner, 3), out=tmp_path / "x.bin", again=True)
    assert not (tmp_path / "x.bin").exists()


def test_an_image_is_signed_with_the_version_it_is_given(tmp_path, owner):
    image = tmp_path / "image.bin"
    image.write_bytes(b"\xe9" + bytes(99))
    with pytest.raises(ReleaseError, match="--version"):
        release.sign(image, Signer(owner, 1), out=tmp_path / "x.bin")
    made = release.sign(image, Signer(owner, 1), out=tmp_path / "x.bin", version="7")
    assert (made.kind, made.version, made.payload_size) == ("esp32-image", "7", 100)
    with pytest.raises(ReleaseError, match="version '7', not '8'"):
        release.sign(made.path, Signer(owner, 2), out=tmp_path / "y.bin", version="8", again=True)


# --- the command


def run(*arguments, code=0, given="", **environment):
    runner = CliRunner(env={"IVOTA_PASSPHRASE": None, "SOURCE_DATE_EPOCH": None, **environment})
    done = runner.invoke(cli.app, [str(each) for each in arguments], input=given)
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done


def test_from_a_key_to_a_verified_release(app, tmp_path):
    key, public, out = tmp_path / "mine.key", tmp_path / "mine.pub", tmp_path / "x.bin"
    asked = run("keygen", key, given=f"{PASSPHRASE}\n{PASSPHRASE}\n")
    assert PASSPHRASE not in asked.output
    assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED")
    made = run(
        *("release", app, "--version", "0.2", "--out", out, "--json"),
        *("--key", key, "--sequence", 7, "--target", "blinky"),
        given=PASSPHRASE + "\n",
    )
    shown = json.loads(made.stdout)
    assert (shown["signed"]["sequence"], shown["signed"]["target"]) == (7, "blinky")
    assert shown["signed"]["key"] in asked.output
    good = run("verify", out, "--key", public)
    assert f"{out} is signed by a trusted key" in good.stdout
    assert json.loads(run("verify", out, "--key", public, "--json").stdout)["version"] == "0.2"
    for text in (run("inspect", out).stdout, good.stdout):
        assert "sequence 7" in text and "blinky" in text and shown["signed"]["key"] in text


def test_a_passphrase_from_the_environment_and_a_time(app, tmp_path):
    key = tmp_path / "mine.key"
    said = run("keygen", tmp_path / "[red]:bug:.key", IVOTA_PASSPHRASE=PASSPHRASE).stdout
    assert f"{tmp_path}/[red]:bug:.pub" in said
    found = json.loads(run("keygen", key, "--json", IVOTA_PASSPHRASE=PASSPHRASE).stdout)
    assert found["public"] == str(tmp_path / "mine.pub") and len(found["key"]) == 16
    signed = ("release", app, "--version", "1", "--key", key, "--sequence", 1, "--json", "--out")
    for name, epoch in (("1", "1700000000"), ("2", "1700000000")):
        run(*signed, tmp_path / name, IVOTA_PASSPHRASE=PASSPHRASE, SOURCE_DATE_EPOCH=epoch)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert "2023-11-14 22:13:20 UTC" in run("inspect", tmp_path / "1").stdout
    for epoch in ("yesterday", "-5"):
        wrong = {"IVOTA_PASSPHRASE": PASSPHRASE, "SOURCE_DATE_EPOCH": epoch}
        run(*signed, tmp_path / "3", code=1, **wrong)
    assert "passphrase" in run(*signed, tmp_path / "3", code=1, IVOTA_PASSPHRASE="no").stderr
    assert not (tmp_path / "3").exists()


def test_resign_and_sign_a_ready_file(app, tmp_path):
    key = tmp_path / "mine.key"
    run("keygen", key, "--no-passphrase")
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE")
    one, two = tmp_path / "1.bin", tmp_path / "2.bin"
    sign = ("--key", key, "--sequence")
    run("release", app, "--version", "0.1", "--out", one, *sign, 1)
    run("release", one, "--out", two, *sign, 2, "--resign")
    assert release.inspect(two).signed.sequence == 2
    (tmp_path / "image").write_bytes(b"\xe9" + bytes(100))
    image = (tmp_path / "image", "--version", "9", "--out", two, *sign, 3)
    assert "can be released only once" in run("release", *image, code=1).stderr
    run("release", *image, "--overwrite")
    assert release.inspect(two).version == "9"

    def wrong(*arguments):
        return run("release", *arguments, code=1).stderr

    out = ("--out", tmp_path / "none")
    assert "--key" in wrong(app, "--version", "1", "--sequence", 1, *out)
    assert "--key" in wrong(app, "--version", "1", "--target", "x", *out)
    assert "--key" in wrong(one, "--resign", *out)
    assert "--sequence is missing" in wrong(app, "--version", "1", "--key", key, *out)
    assert "--version is missing" in wrong(app, *sign, 1, *out)
    assert "not a folder" in wrong(app, "--version", "1", *sign, 1, "--resign", *out)
    assert "--out is missing" in wrong(one, *sign, 2, "--resign")
    assert "--resign" in wrong(one, *sign, 2, *out)
    assert "not '2'" in wrong(one, *sign, 2, "--resign", "--version", "2", *out)
    assert "use --out only with --key" in wrong(one, *out)
    assert "--pad-to needs a folder" in wrong(one, "--pad-to", 100_000, *sign, 2, *out)
    assert "cannot read" in wrong(app, "--version", "1", "--key", tmp_path / "no",
                                     "--sequence", 1, *out)  # fmt: skip
    assert not (tmp_path / "none").exists()


def test_verify_has_no_good_word_for_anything_else(keys, owner, tmp_path):
    path = tmp_path / "x.bin"
    public = ("--key", keys / "owner.pub")

    def wrong(data):
        path.write_bytes(data)
        return run("verify", path, *public, code=1).stderr

    data = Signer(owner, 1).sign(b"payload", "1", "other")
    assert "not signed" in wrong(b"payload")
    assert "does not match the signed" in wrong(b"Payload" + data[7:])
    assert "damaged" in wrong(b"IVOTASIG" * 2)
    path.write_bytes(data)
    assert (
        "not signed by a trusted key"
        in run("verify", path, "--key", keys / "other.pub", code=1).stderr
    )
    run("verify", path, "--key", keys / "other.pub", *public)
    assert "cannot read" in run("verify", tmp_path / "no", *public, code=1).stderr
    assert run("verify", path, code=2)


def test_a_ready_bundle_that_says_who_a_board_is_gets_no_signature(owner, tmp_path):
    source, out = tmp_path / "a.bin", tmp_path / "b.bin"
    for config, good in (('{"device_name": "d"}', False), ('{"a_new_key": 5}', True)):
        files = {"app.py": b"", "config.json": config.encode()}
        source.write_bytes(bundle.build(files, "a", "1") + b"filler")
        if good:
            assert release.sign(source, Signer(owner, 1), out=out).version == "1"
        else:
            with pytest.raises(ReleaseError, match="config.json sets device_name"):
                release.sign(source, Signer(owner, 1), out=out)
            assert not out.exists()
