"""Whose firmware this is: what is accepted, and every other file with its reason."""

from signed import CASES, KEYS, SIZE, firmware, footer, payload

from ivota import OtaError, guarded_socket
from ivota.owner_signature import header
from ivota.result_codes import FAILED
from ivota.signed_claims import examine
from support import flipped, patched, raises, tmp_dir, write_file


class Firmware:
    """What `examine` is given of a push."""

    payload_size = sequence = kind = slot = None

    def __init__(self, path, size, version):
        self.path = path
        self.size = size
        self.version = version


class Board:
    """Its key files, and the firmware that was downloaded."""

    def __init__(self, keys=("owner",), target="t"):
        self._keys = keys
        self._target = target

    def __enter__(self):
        self._tmp = tmp_dir()
        self.path = self._tmp.__enter__()
        for name, key in KEYS.items():
            write_file(self.path + "/" + name, key)
        self.config = {
            "keys": [self.path + "/" + name for name in self._keys],
            "target": self._target,
        }
        return self

    def __exit__(self, *exc):
        self._tmp.__exit__(*exc)

    def examine(self, data, version="0.2", confirmed=0):
        """(the firmware, in how many steps)."""
        write_file(self.path + "/fw.bin", data)
        found = Firmware(self.path + "/fw.bin", len(data), version)
        return found, sum(1 for _ in self.steps(found, confirmed))

    def steps(self, found, confirmed=0):
        """Both phases, in bounded pieces."""
        signed = header(found, self.config["keys"])
        yield
        yield from examine(found, signed, self.config["target"], confirmed)

    def refused(self, data, part="", version="0.2", confirmed=0, reject=True):
        with raises(OtaError, part) as caught:
            self.examine(data, version, confirmed)
        error = caught.value
        assert error.code == FAILED and not error.again and error.reject is reject
        assert error.message.startswith("signature: ") and len(error.message) < 120


def test_what_the_owner_signed_is_accepted():
    with Board() as board:
        found, steps = board.examine(firmware("good"))
        assert (found.payload_size, found.sequence, found.kind) == (SIZE, 7, "other")
        assert steps >= 2
        assert board.examine(firmware("bundle"))[0].kind == "bundle"
        assert board.examine(firmware("image"))[0].kind == "esp32-image"
        assert board.examine(firmware("longest"))[0].sequence == 7


def test_versions_and_targets_of_any_language():
    with Board(target="\xfc") as board:
        assert board.examine(firmware("unicode"), "0.2 \xe4\U0001f600")[0].sequence == 7


def test_a_step_digests_64_kib_at_most():
    with Board() as board:
        assert board.examine(firmware("good"))[1] == 1 + 2


def test_the_watchdog_is_fed_before_each_key():
    fed = []
    with Board(keys=("other", "other", "owner")) as board:
        with patched(guarded_socket.hooks, feed=lambda: fed.append(1)):
            assert board.examine(firmware("good"))[0].sequence == 7
    assert len(fed) == 3


def test_what_is_not_signed():
    with Board() as board:
        for data in (b"x", b"IVOTASIG", payload(), payload() + footer(0, magic=b"IVOTASIg")):
            board.refused(data, "not signed")
        board.refused(firmware("good") + b"\0", "not signed")
        board.refused(firmware("good")[:-1], "not signed")


def test_a_frame_of_any_length():
    good = firmware("good")
    with Board() as board:
        for sizes in ((0, 384), (513, 384), (65535, 384), (300, 0), (300, 383), (300, 65535)):
            board.refused(good[:-12] + footer(*sizes), "signature block is damaged")
        board.refused(footer(300), "signature block is damaged")
        board.refused(bytes(395) + footer(300), "signature block is damaged")
        board.refused(firmware("too long"), "signature block is damaged")
        # Of which only the signature can say that they are wrong:
        board.refused(good[:-12] + footer(299), "not signed by a trusted key")
        board.refused(good[:-12] + footer(512), "not signed by a trusted key")


def test_only_the_lengths_are_read_before_the_signature():
    """A header that would be refused, or would take the heap, is never reached."""
    with Board() as board:
        for header in (b"", b"{", b"[" * 512, b'{"v":' + b"9" * 500 + b"}", b"\xff" * 512):
            if header:
                data = payload() + header + bytes(384) + footer(len(header))
                board.refused(data, "not signed by a trusted key")


def test_another_key():
    with Board() as board:
        board.refused(firmware("by another key"), "not signed by a trusted key")
    with Board(keys=("owner", "other")) as board:
        assert board.examine(firmware("by another key"))[0].sequence == 7
        assert board.examine(firmware("good"))[0].sequence == 7
    with Board(keys=("other",)) as board:
        board.refused(firmware("good"), "not signed by a trusted key")


def test_keys_that_are_none():
    """A key that is missing or damaged is the board's fault: the firmware may be pushed again."""
    with Board() as board:
        owner = board.config["keys"][0]
        der = KEYS["owner"]
        for data in (b"", b"junk", der[:-1], der + b"\0", der[:-5] + b"\2\1\3", bytes(422)):
            write_file(board.path + "/bad", data)
            board.config["keys"] = [board.path + "/bad"]
            board.refused(firmware("good"), "/bad is not a public key", reject=False)
            board.config["keys"].append(owner)
            assert board.examine(firmware("good"))[0].sequence == 7
        for path in ("/none/key", 5, None, ["x"], ""):
            board.config["keys"] = [path]
            board.refused(firmware("good"), "is not a public key", reject=False)


def test_a_block_is_compared_whole():
    names = (
        "of another header",
        "short padding",
        "garbage in the padding",
        "another block type",
        "without NULL",
        "SHA-1",
        "no DigestInfo",
        "zero",
        "one",
        "all ones",
        "plus the modulus",
    )
    with Board() as board:
        for name in names:
            board.refused(firmware(name), "not signed by a trusted key")


def test_a_changed_byte_anywhere():
    good = firmware("good")
    with Board() as board:
        places = list(range(0, SIZE, 9973)) + [SIZE - 1]
        for at in places:
            board.refused(flipped(good, at), "does not match the signed SHA-256")
        header = len(CASES["good"][1])
        for at in range(SIZE, SIZE + header, 17):
            board.refused(flipped(good, at), "not signed by a trusted key")
        for at in (0, 1, 200, 383):
            board.refused(flipped(good, SIZE + header + at), "not signed by a trusted key")
        for at in range(len(good) - 12, len(good)):
            board.refused(flipped(good, at))


def test_another_version():
    with Board() as board:
        board.refused(firmware("good"), "for version 0.2, not", version="0.3")
        board.refused(firmware("good"), "for version 0.2, not", version="0.20")


def test_another_target():
    with Board(target="u") as board:
        board.refused(firmware("good"), "it is for target t, but this board is u")
        board.refused(firmware("no target"), "it is for target None, but this board is u")
    with Board(target=None) as board:
        board.refused(firmware("good"), "it is for target t, but this board is None")
        assert board.examine(firmware("no target"))[0].sequence == 7


def test_a_number_that_is_not_above_the_confirmed_one():
    with Board() as board:
        for confirmed in (7, 8, 1 << 31):
            board.refused(
                firmware("good"),
                "sequence 7 is not above the confirmed %d" % confirmed,
                confirmed=confirmed,
            )
        assert board.examine(firmware("good"), confirmed=6)[0].sequence == 7
        assert board.examine(firmware("newer"), confirmed=7)[0].sequence == 8


def test_a_size_that_is_not_the_payloads():
    with Board() as board:
        for name in ("shorter", "longer", "size as text"):
            board.refused(firmware(name), "bytes, but the payload has %d" % SIZE)


def test_another_payload():
    with Board() as board:
        for name in ("another payload", "no digest"):
            board.refused(firmware(name), "does not match the signed SHA-256")


def test_a_payload_of_another_kind():
    with Board() as board:
        for name in ("an image as a bundle", "a bundle as an image", "another kind"):
            board.refused(firmware(name), "kind")


def test_headers_of_another_format():
    """They are the owner's, so they are no attack, but must not be taken for what they are not."""
    names = (
        "another format",
        "no format",
        "no version",
        "no kind",
        "target left out",
        "number left out",
        "number as text",
        "number true",
        "number a fraction",
        "a list",
        "a number",
        "no JSON",
        "deep",
    )
    with Board() as board:
        for name in names:
            board.refused(firmware(name), "format")
        assert board.examine(firmware("number huge"))[0].sequence == 10**300


def test_every_case_is_used():
    with open(__file__) as file:
        text = file.read()
    for name in CASES:
        assert '"%s"' % name in text, name


def test_a_file_that_cannot_be_read_is_no_verdict():
    with Board() as board:
        board.examine(firmware("good"))
        for size in (SIZE * 2, len(firmware("good")) + 1):
            found = Firmware(board.path + "/fw.bin", size, "0.2")
            with raises(OSError):
                for _ in board.steps(found):
                    pass
        with raises(OSError):
            for _ in board.steps(Firmware(board.path + "/none", 5000, "0.2")):
                pass


def test_what_is_digested_is_what_is_read_back():
    """A byte that changes on flash after the download, and before its turn, is found."""
    good = firmware("good")
    with Board() as board:
        write_file(board.path + "/fw.bin", good)
        found = Firmware(board.path + "/fw.bin", len(good), "0.2")
        steps = board.steps(found)
        next(steps)
        with open(board.path + "/fw.bin", "r+b") as file:
            file.seek(SIZE - 1)
            file.write(b"?")
        with raises(OtaError, "does not match the signed SHA-256"):
            for _ in steps:
                pass
        assert found.sequence is None
