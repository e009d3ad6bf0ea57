"""Updates of a board that has keys: what is looked at when, and what is remembered."""

import os

from clientworld import World
from doubles.fakeesp32 import FakeEsp32
from signed import KEYS, SIZE, firmware, payload

from ivota import json_file
from ivota import signed_claims as payload_phase
from ivota.result_codes import FAILED
from support import flipped, patched, write_file

OTHER_KEY = "signature: not signed by a trusted key"
ANOTHER_PAYLOAD = "signature: the payload does not match the signed SHA-256"


class Board(World):
    """A `World` with a key, to which firmware of signed.py is pushed as version 0.2."""

    def __init__(self, data, esp32=None):
        World.__init__(self, data=data, esp32=esp32)
        self.checks = []  # the phases in which the taker was asked to look at the firmware

    def start(self, **more):
        write_file(self.path + "/owner", KEYS["owner"])
        config = {"keys": [self.path + "/owner"], "target": "t"}
        return self.client(config=config, **more)

    def check(self, _firmware):
        self.checks.append(self.made.job.phase)
        return True

    def __call__(self, found):
        self.got.append(found)

    def events(self):
        return [event for _, event, _ in self.log]

    def saved(self):
        return json_file.load(self.path + "/state.json")

    def refused(self, why, **more):
        """Pushed, refused for that reason, with nothing left; its taker never saw it."""
        self.push(**more)
        self.spin(10, lambda: self.finals() and not self.made.queue)
        assert self.finals() == [("fail", "-5", why)]
        assert self.checks == [] and self.got == []
        assert "burning" not in [state for state, _ in self.states()]
        assert os.listdir(self.path + "/fw") == []


def test_the_taker_looks_after_the_signature():
    with Board(firmware("good")) as board:
        client = board.start(on_firmware=board)
        board.push()
        board.spin(10, lambda: board.got)
        assert board.checks == ["verification"]
        (found,) = board.got
        assert (found.size, found.payload_size) == (len(board.data), SIZE)
        assert (found.sequence, found.kind) == (7, "other")
        wanted = ["verified", "signed", "handed_over"]
        assert [event for event in board.events() if event in wanted] == wanted
        assert client.state.sequence == 0
        client.update_progress("done")
        board.spin(1)
        assert board.saved()["sequence"] == 7


def test_what_an_application_failed_to_burn_is_not_confirmed():
    with Board(firmware("good")) as board:
        client = board.start(on_firmware=board)
        board.push()
        board.spin(10, lambda: board.got)
        client.update_progress("fail", FAILED, "the motor is jammed")
        board.spin(1)
        assert "sequence" not in board.saved() and "rejected" not in board.saved()


def test_a_refusal_is_remembered_by_md5_and_version():
    with Board(firmware("by another key")) as board:
        board.start(on_firmware=board)
        board.refused(OTHER_KEY)
        (entry,) = board.saved()["rejected"]
        assert entry[1:] == [OTHER_KEY, "0.2"]
        assert len(board.failures) == 1 and board.failures[0].code == FAILED
        asked = len(board.requests)
        board.push()
        board.spin(2)
        assert board.finals() == [("fail", "-5", OTHER_KEY)] * 2
        assert len(board.requests) == asked
        # The same after a restart.
        board.start(on_firmware=board)
        board.push()
        board.spin(2)
        assert board.finals()[-1] == ("fail", "-5", OTHER_KEY) and len(board.requests) == asked


def test_a_good_firmware_under_another_name_is_only_that():
    with Board(firmware("good")) as board:
        board.start(on_firmware=board)
        why = "signature: it is for version 0.2, not for the pushed one"
        board.refused(why, version="0.3")
        board.push(version="0.3")
        board.spin(1)
        assert board.finals() == [("fail", "-5", why)] * 2
        board.push()
        board.spin(10, lambda: board.got)
        assert board.got[0].version == "0.2"


def test_nothing_is_called_damaged_that_was_not_signed():
    """A bundle or an image that is none, too: what is in the payload is never looked at."""
    for data in (payload(), payload(b"\xd2\xcd\x31"), payload(b"\xe9"), b"x"):
        with Board(data) as board:
            board.start(on_firmware=board)
            board.refused("signature: the file is not signed")


def test_flash_that_fails_is_no_verdict():
    for error in (OSError(5), MemoryError("no room")):
        with Board(firmware("good")) as board:
            board.start(on_firmware=board)

            def fails(*_, error=error):
                raise error

            with patched(payload_phase, _mismatch=fails):
                board.push()
                board.spin(10, lambda: board.finals())
            assert board.finals()[0][:2] == ("fail", "-5")
            assert board.got == [] and "rejected" not in board.saved()
            board.clear()
            board.push()
            board.spin(30, lambda: board.got)


def test_a_push_in_the_midst_of_it():
    with Board(firmware("good")) as board:
        client = board.start(on_firmware=board)
        board.push()
        board.spin(10, lambda: client.job and client.job.phase == "signed_claims")
        client.step()
        board.push(url="http://h/renewed")  # the same: goes on
        client.step()
        assert client.job.phase == "signed_claims" and client.next is None
        board.data = firmware("newer")
        board.push()
        board.spin(10, lambda: board.got)
        assert [found.sequence for found in board.got] == [8]


def test_a_board_without_keys_does_not_ask():
    with Board(firmware("by another key")) as board:
        board.client(on_firmware=board)
        board.push()
        board.spin(10, lambda: board.got)
        assert board.got[0].payload_size == len(board.data)
        board.made.update_progress("done")
        board.spin(1)
        assert "sequence" not in board.saved()


# Images


def test_an_image_is_given_to_the_boot_loader_after_its_signature():
    with Board(firmware("image"), FakeEsp32(20)) as board:
        client = board.start()
        board.push()
        board.spin(30, lambda: client.exiting)
        assert board.events().index("signed") < board.events().index("handed_over")
        assert board.esp32.boot == "ota_1"
        assert board.saved()["trial"]["sequence"] == 7 and "sequence" not in board.saved()
        board.esp32.reset()
        board.start(version="0.2")
        board.spin(2)
        assert board.esp32.states["ota_1"] == "valid"
        assert board.saved()["sequence"] == 7


def test_of_a_refused_image_nothing_can_be_started():
    """A boot loader whose own image is damaged starts what it finds in the other slot."""
    good = firmware("image")
    for data, why in (
        (flipped(good, SIZE - 1), ANOTHER_PAYLOAD),
        (good[:SIZE], "signature: the file is not signed"),
        (firmware("an image as a bundle"), "signature: the payload is not of the signed kind"),
    ):
        with Board(data, FakeEsp32(20)) as board:
            client = board.start()
            board.refused(why)
            assert board.esp32.boot == "ota_0" and not client.exiting
            assert bytes(board.esp32.slots["ota_1"][:4096]) == b"\xff" * 4096
            board.data = good
            board.clear()
            board.push()
            board.spin(30, lambda: board.made.exiting)
            assert board.esp32.boot == "ota_1"
