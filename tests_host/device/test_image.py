"""An ESP32 image, from the push to its confirmation: what is where at which instant."""

import json
import os

from bundles import bundle
from clientworld import World, push_of
from doubles.fakeesp32 import ONE_SLOT, OTA, PLAIN, FakeEsp32, image_of

from ivota import OtaError, failure_record, json_file, once
from ivota import trial as trials
from support import data_of, patched, raises, read_file, write_file

BACK = "the boot loader rolled back to the previous image"
CHIP_C3 = 5


class Board(World):
    """A `World` on an ESP32 that runs image 0.1 from ota_0."""

    def __init__(self, size=20000, data=None, blocks=16, chip=0, layout=OTA):
        esp32 = FakeEsp32(blocks, chip, layout)
        self.first = esp32.running
        World.__init__(self, esp32=esp32, data=data or image_of(size, chip))

    def saved(self):
        return json_file.load(self.path + "/state.json") or {}

    def names(self):
        """What lies in the folder; nothing where there is none."""
        return sorted(os.listdir(self.path + "/fw")) if "fw" in os.listdir(self.path) else []

    def known(self):
        return json_file.load(self.path + "/fw/0.2.json")

    def boot(self, booted=True, **more):
        """Reset: what the boot loader and boot.py do, and a client; unless it dies before."""
        self.esp32.reset()
        state = self.saved()
        trial = state.get("trial")
        if trial and booted:
            ran = state.get("starts", 0)
            state["starts"] = ran + 1
            if trial["slot"] != self.esp32.running:
                if ran:
                    state["ended"] = dict(trial, why=BACK, reject=False)
                state["active"], state["previous"] = state.get("previous"), None
                state["trial"] = None
            json_file.save(self.path + "/state.json", state)
        if booted:
            version = "0.1" if self.esp32.running == self.first else "0.2"
            return self.client(**dict({"version": version}, **more))
        return None

    def install(self, **more):
        """Push, and run until the board is to restart."""
        client = self.client(**more)
        self.push()
        self.spin(30, lambda: client.exiting)
        assert client.restart


def test_a_whole_update():
    with Board() as board:
        json_file.save(
            board.path + "/state.json", {"active": "/x/0.1.bin", "previous": "/x/0.0.bin"}
        )
        board.install()
        assert board.states()[-1] == ("burning", "0")
        assert [url for url, _, _ in board.requests] == ["http://h/f"]
        assert bytes(board.esp32.slots["ota_1"][:20000]) == board.data
        assert board.names() == ["0.2.json"] and board.known()["position"] == 20000
        saved = board.saved()
        assert "active" not in saved and saved["previous"] == "/x/0.1.bin"
        assert saved["trial"]["slot"] == "ota_1" and saved["trial"]["version"] == "0.2"
        assert board.esp32.boot == "ota_1" and board.finals() == []
        board.boot()
        board.spin(1)
        assert board.versions()[0] == "0.2"
        assert board.finals() == [("done", "0", "")]
        assert board.esp32.states["ota_1"] == "valid"
        saved = board.saved()
        assert all(key in ("previous", "sums", "worn_until") for key in saved)
        assert board.names() == []
        board.boot()
        assert board.esp32.running == "ota_1" and board.made.version == "0.2"


def test_a_step_is_busy_while_first_bytes_come_and_idle_while_none_do():
    with Board() as board:
        board.answers = [[board.data[:1], 2, board.data[1:]]]
        client = board.client()
        board.push()
        board.spin(1, lambda: client.job and client.job.phase == "slot_or_file")
        said = []
        while client.job.phase == "slot_or_file":
            said.append(client.step())
        assert said == [True, False, False] + [True] * 35


def test_the_state_is_written_before_the_boot_loader_knows():
    with Board() as board:
        seen = []
        real = board.esp32.check

        def check(operation):
            if operation == "set_boot":
                seen.append(board.saved().get("trial"))
            real(operation)

        board.esp32.check = check
        board.install()
        assert len(seen) == 1 and seen[0]["slot"] == "ota_1"


def test_done_is_provisional_before_the_image_is_valid_and_sent_after():
    with Board() as board:
        board.install()
        seen = []
        real = board.esp32.check

        def check(operation):
            if operation == "mark":
                seen.append((board.saved(), board.finals()))
            real(operation)

        board.esp32.check = check
        board.boot()
        board.spin(1)
        ((saved, finals),) = seen
        assert "done" in saved["trial"]["provisional"] and "outbox" not in saved
        assert finals == []
        assert board.finals() == [("done", "0", "")]


def test_a_cut_before_the_image_was_marked_is_a_failure():
    with Board() as board:
        board.install()
        board.boot()
        board.esp32.fail = "mark"
        board.spin(1, lambda: board.made.exiting)
        assert board.made.restart and board.finals() == []
        board.esp32.fail = ""
        board.boot()
        assert board.esp32.running == "ota_0"
        board.spin(1)
        assert board.finals() == [("fail", "-5", BACK)]
        assert failure_record.reason(board.state, board.saved()["failures"][0]) is None
        # It is whole still, and does not come again.
        board.push()
        board.spin(30, lambda: board.made.exiting)
        assert board.made.restart and len(board.requests) == 1
        board.boot()
        board.spin(1)
        assert board.finals() == [("done", "0", "")] and board.names() == []


def test_a_cut_after_the_image_was_marked_is_a_success():
    with Board() as board:
        board.install()

        def cut(state, outbox):
            raise KeyboardInterrupt

        board.boot()
        # Whatever comes: boot.py has nothing to give up any more.
        for _ in range(20):
            with patched(trials, confirm=cut):
                try:
                    board.spin(1)
                    raise AssertionError
                except KeyboardInterrupt:
                    pass
            assert board.finals() == [] and board.saved()["trial"]["provisional"]
            assert min(board.saved()["trial"]["limits"]) > 1000
            board.boot(connect=False)
        assert board.esp32.running == "ota_1"
        board.spin(1)  # not connected: nothing more is needed
        assert "trial" not in board.saved() and "done" in board.saved()["outbox"]
        board.made.link.connect()
        board.spin(1)
        assert board.finals() == [("done", "0", "")]
        assert "outbox" not in board.saved()


def test_what_boot_py_has_not_seen_is_seen():
    with Board() as board:
        trial = {"version": "0.2", "md5sum": "5" * 32, "limits": [3, 10], "slot": "ota_1"}
        trial["provisional"] = '{"type": "done"}'
        json_file.save(board.path + "/state.json", {"trial": trial, "starts": 1})
        board.client()
        board.spin(1)
        assert board.finals() == [("fail", "-5", BACK)]
        assert "trial" not in board.saved()


def test_an_image_that_does_not_reach_the_cloud_goes_back():
    with Board() as board:
        board.install()
        board.boot(connect=False, config={"trial": {"limit_s": 60}})
        board.spin(61, pace_ms=100)
        assert board.made.exiting and board.made.restart
        board.boot()
        assert board.esp32.running == "ota_0"
        board.spin(1)
        assert board.finals() == [
            ("fail", "-5", "the trial was not confirmed in time: cannot reach the broker")
        ]
        assert board.saved().get("rejected") is None


def test_an_image_that_says_it_is_another_version_goes_back_and_is_refused():
    with Board() as board:
        board.install()
        board.boot(version="0.1")
        board.spin(1, lambda: board.made.exiting)
        assert board.made.restart
        board.boot()
        board.spin(1)
        assert board.finals() == [("fail", "-5", "the image reports another version: 0.1")]
        board.clear()
        board.push()
        board.spin(1)
        assert board.finals() == [("fail", "-5", "the image reports another version: 0.1")]
        assert len(board.requests) == 1


def test_an_image_that_ran_and_went_back_ten_times_is_refused():
    with Board() as board:
        for n in range(10):
            if n:
                board.push()
                board.spin(3000, lambda: board.made.exiting, 500)  # it rests, longer each time
            else:
                board.install()
            board.boot()
            board.boot()
            board.spin(1)
            assert board.finals() == [("fail", "-5", BACK)]
            assert bool(board.saved().get("rejected")) == (n == 9)
        assert len(board.requests) == 1
        board.clear()
        board.push()
        board.spin(1)
        assert board.finals() == [("fail", "-5", BACK)]


def test_an_image_that_never_ran_is_tried_ten_times():
    with Board() as board:
        for _ in range(10):
            board.install()
            assert board.finals() == []
            board.boot(booted=False)
            board.boot()
            assert board.esp32.running == "ota_0" and not board.made.trial
        assert len(board.requests) == 1
        board.push()
        board.spin(30, lambda: board.finals())
        assert board.finals() == [("fail", "-5", "the image did not boot in 10 tries")]
        saved = board.saved()
        assert "rejected" not in saved and "tries" not in saved and not board.made.exiting
        assert board.names() == []


def test_a_cut_before_set_boot_leaves_no_trace_but_the_slot():
    with Board() as board:
        json_file.save(board.path + "/state.json", {"active": "/x/0.1.bin"})
        client = board.client()

        def cut(*_):
            raise KeyboardInterrupt

        with patched(board.esp32.Partition, set_boot=cut):
            board.push()
            try:
                board.spin(30, lambda: client.exiting)
                raise AssertionError
            except KeyboardInterrupt:
                pass
        assert board.saved()["trial"]
        board.boot()
        assert board.esp32.running == "ota_0" and board.saved()["active"] == "/x/0.1.bin"
        board.push()
        board.spin(30, lambda: board.made.exiting)
        assert board.finals() == [] and len(board.requests) == 1
        board.boot()
        board.spin(1)
        assert board.finals() == [("done", "0", "")]


def test_an_image_that_can_not_be_booted_changes_nothing():
    with Board() as board:
        json_file.save(
            board.path + "/state.json", {"active": "/x/0.1.bin", "previous": "/x/0.0.bin"}
        )
        board.client()
        board.esp32.fail = "set_boot"
        board.push()
        board.spin(30, lambda: board.finals())
        assert board.finals()[0][:2] == ("fail", "-5")
        assert "can't be booted" in board.finals()[0][2]
        saved = board.saved()
        assert (saved["active"], saved["previous"]) == ("/x/0.1.bin", "/x/0.0.bin")
        assert "trial" not in saved and not board.made.exiting
        assert board.esp32.boot == "ota_0" and board.names() == []


def test_an_image_that_no_slot_starts_is_refused_by_its_first_bytes():
    loader = image_of(20000)
    loader = loader[:32] + b"\x50\0\0\0" + loader[36:]
    for data, why in (
        (image_of(20000, CHIP_C3), "the image is for chip 5, but this is chip 0"),
        (loader, "the image is of the whole flash, or has no application"),
        (image_of(30), "the image is of the whole flash, or has no application"),
    ):
        with Board(data=data) as board:
            board.answers = [[data[:36], 1 << 30]]  # nothing behind them is waited for
            board.client()
            board.push()
            board.spin(30, lambda: board.finals())
            assert board.finals() == [("fail", "-5", why)]
            assert "burning" not in [state for state, _ in board.states()]
            assert board.esp32.boot == "ota_0" and board.names() == []
            assert board.esp32.erases == 0, "what lay in the slot is gone"


def test_the_first_bytes_may_come_one_by_one_and_be_cut_off():
    data = image_of(20000)
    with Board(data=data) as board:
        board.answers = [
            [data[:20]],
            [data[:7], OSError(104)],
            [piece for n in range(40) for piece in (data[n : n + 1], 10)] + [data[40:]],
        ]
        board.install()
        assert [offset for _, offset, _ in board.requests] == [0, 0, 0]
        assert bytes(board.esp32.slots["ota_1"][:20000]) == data


def test_a_delta_makes_no_image_that_no_slot_starts():
    """What did not come as its own first bytes is looked at when it is whole."""
    with Board(data=image_of(20000)) as board:
        board.install()
        board.esp32.slots["ota_1"][32] = 0
        with raises(OtaError, "whole flash"):
            once("image_trial").examine(board.state, "0" * 32)


def test_on_a_board_of_that_chip_it_is_fine():
    with Board(chip=CHIP_C3) as board:
        board.install()
        assert board.esp32.boot == "ota_1"


def test_an_image_larger_than_a_slot_is_refused_at_its_first_byte():
    with Board(size=17000, blocks=4) as board:
        board.client()
        board.push()
        board.spin(30, lambda: board.finals())
        assert board.finals() == [("fail", "-5", "not enough space: a slot has 16 KiB")]
        assert board.esp32.erases == 0 and board.names() == []


def test_a_board_without_slots_refuses_it_by_its_first_byte():
    for layout, running in ((PLAIN, "factory"), (ONE_SLOT, "ota_0")):
        with Board(layout=layout) as board:
            board.esp32.running = running
            board.answers = [[board.data[:1], 1 << 20]]
            board.client()
            board.push()
            board.spin(30, lambda: board.finals())
            assert board.finals() == [("fail", "-5", "this board has no slot for an ESP32 image")]
            assert "burning" not in [state for state, _ in board.states()]
            assert board.esp32.erases == 0 and board.names() == []


def test_a_board_without_slots_takes_a_file():
    with Board(layout=PLAIN, data=data_of(20000)) as board:
        board.answers = [[board.data[:1], OSError(104)], None]
        board.client()
        board.push()
        board.spin(30, lambda: board.finals())
        assert [offset for _, offset, _ in board.requests] == [0, 1]
        assert board.finals()[0][2].startswith("neither bundle nor image")


def test_a_single_slot_beside_a_factory_image_takes_one():
    with Board(layout=ONE_SLOT) as board:
        board.install()
        assert board.boot() and board.esp32.running == "ota_0"
        board.spin(30, lambda: board.finals())
        assert [final[0] for final in board.finals()] == ["done"]
        assert board.esp32.states["ota_0"] == "valid"
    with Board(layout=ONE_SLOT) as board:
        board.install()
        board.boot()  # and once more, before it is confirmed
        assert board.boot() and board.esp32.running == "factory"
        board.spin(30, lambda: board.finals())
        assert board.finals() == [("fail", "-5", BACK)]


def test_a_callback_gets_an_image_as_a_file():
    with Board() as board:
        board.client(on_firmware=board.got.append)
        board.push()
        board.spin(30, lambda: board.got)
        assert read_file(board.got[0].path) == board.data and board.got[0].slot is None
        assert board.esp32.erases == 0


def test_a_bundle_is_a_file_on_a_board_with_slots_too():
    data = bundle([("app.py", b"x" * 9000)])
    with Board(data=data) as board:
        board.answers = [[50, data[:1], 50, data[1:]]]
        board.install()
        assert read_file(board.path + "/fw/0.2.bin") == data
        assert board.esp32.erases == 0 and board.esp32.boot == "ota_0"
        assert board.saved()["active"] == board.path + "/fw/0.2.bin"


def test_a_bundle_resumes_as_a_file():
    data = bundle([("app.py", b"x" * 9000)])
    with Board(data=data) as board:
        board.answers = [[data[:6000], 1000]]
        client = board.client()
        board.push()
        board.spin(1)
        client.exit()
        client.close()
        board.install()
        assert [offset for _, offset, _ in board.requests] == [0, 6000]
        assert read_file(board.path + "/fw/0.2.bin") == data


def test_a_file_that_began_as_an_image_is_begun_anew_by_what_is_none():
    data = bundle([("app.py", b"x" * 9000)])
    with Board(data=data) as board:
        os.mkdir(board.path + "/fw")
        write_file(board.path + "/fw/0.2.bin", b"\xe9\1\2")
        push = json.loads(push_of(data))
        known = {key: push[key] for key in ("version", "md5sum", "file_size")}
        json_file.save(board.path + "/fw/0.2.json", known)
        board.install()
        assert [offset for _, offset, _ in board.requests] == [0]
        assert read_file(board.path + "/fw/0.2.bin") == data


def test_the_first_byte_may_be_long_in_coming():
    for answer in ([], [OSError(104)], [100000]):
        with Board() as board:
            board.answers = [answer]
            board.install(config={"http": {"deadline_s": 5}})
            assert [offset for _, offset, _ in board.requests] == [0, 0]
            assert bytes(board.esp32.slots["ota_1"][:20000]) == board.data


def test_a_server_that_never_sends_a_byte_leaves_nothing_behind():
    with Board() as board:
        board.answers = [[]] * 10
        board.client()
        board.push()
        board.spin(60, lambda: board.finals())
        assert board.finals()[0][:2] == ("fail", "-1")
        assert board.names() == []
        assert board.esp32.erases == 0


def test_an_exit_before_the_first_byte_leaves_nothing_behind():
    with Board() as board:
        board.answers = [[100000]]
        client = board.client()
        board.push()
        board.spin(1)
        client.exit()
        client.close()
        assert board.names() == []


def test_link_cuts_lose_nothing():
    data = image_of(20000)
    with Board(data=data) as board:
        board.answers = [
            [data[:36]],
            [data[36:5000]],
            [data[5000:8192], OSError(104)],
            [data[8192:9001]],
        ]
        board.install()
        assert [offset for _, offset, _ in board.requests] == [0, 36, 5000, 8192, 9001]
        assert bytes(board.esp32.slots["ota_1"][:20000]) == data


def test_an_orderly_stop_resumes_at_a_block():
    with Board() as board:
        board.answers = [[board.data[:9000], 1000]]
        client = board.client()
        board.push()
        board.spin(1)
        client.exit()
        client.close()
        assert board.known()["position"] == 9000
        board.install()
        assert [offset for _, offset, _ in board.requests] == [0, 8192]
        assert bytes(board.esp32.slots["ota_1"][:20000]) == board.data


def test_a_server_that_ignores_range():
    with Board() as board:
        board.answers = [[board.data[:9000]], [board.data]]
        client = board.client()
        board.push()
        board.spin(0.5)
        board.skip = 9000
        board.spin(30, lambda: client.exiting)
        assert bytes(board.esp32.slots["ota_1"][:20000]) == board.data


def test_the_flash_fails():
    for fail in ("erase", "program", "read"):
        with Board() as board:
            board.client()
            board.esp32.fail = fail
            board.push()
            board.spin(60, lambda: board.finals())
            ((state, code, why),) = board.finals()
            assert (state, code) == ("fail", "-5") and "flash: " in why, why
            assert board.names() == [] and board.esp32.boot == "ota_0"


def test_wrong_content_is_minus_4_and_is_not_kept():
    with Board() as board:
        board.client()
        board.push(image_of(20000, seed=3))
        board.spin(30, lambda: board.finals())
        assert board.finals()[0][:2] == ("fail", "-4")
        assert board.names() == []


def test_another_image_takes_the_slot_and_the_checkpoint_before_goes():
    with Board() as board:
        board.answers = [[board.data[:9000], 1000]]
        client = board.client()
        board.push()
        board.spin(1)
        board.answers = [[image_of(12000, seed=3)]]
        board.push(image_of(12000, seed=3), version="0.3")
        board.spin(30, lambda: client.exiting)
        assert board.names() == ["0.3.json"]
        assert bytes(board.esp32.slots["ota_1"][:12000]) == image_of(12000, seed=3)


def test_what_runs_and_what_ran_stay_in_the_folder():
    with Board() as board:
        fw = board.path + "/fw"
        os.mkdir(fw)
        for name in ("0.0.bin", "0.1.bin", "0.9.bin"):
            write_file(fw + "/" + name, b"x")
        json_file.save(
            board.path + "/state.json", {"active": fw + "/0.1.bin", "previous": fw + "/0.0.bin"}
        )
        board.install()
        assert board.names() == ["0.0.bin", "0.1.bin", "0.2.json"]
