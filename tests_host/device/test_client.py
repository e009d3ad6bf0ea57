"""The update cycle, phase by phase, under a virtual clock."""

import os
import sys

from clientworld import World, push_of

import ivota
from ivota import OtaError, failure_record, guarded_socket, http_request, json_file, result_report
from ivota import state as state_file
from ivota.config import ConfigError
from ivota.file_target import FileTarget
from ivota.result_codes import EXPIRED, FAILED, MISMATCH, NOT_FOUND, TIMED_OUT
from ivota.update_client import Client
from support import data_of, patched, raises, read_file, write_file


def test_the_package_imports_its_client_when_it_is_used():
    before = {name: sys.modules[name] for name in sys.modules if name.split(".")[0] == "ivota"}
    for name in before:
        del sys.modules[name]
    try:
        import ivota as package

        assert [name for name in sys.modules if name[:6] == "ivota."] == []
        from ivota import Client as found

        module = sys.modules["ivota.update_client"]
        assert found is package.Client is module.Client
        assert package.update_client is module  # and no name in place of the module
        from ivota import agent as found  # as main.py does

        assert found is sys.modules["ivota.agent"]
        with raises(ImportError, "ivota.missing"):
            from ivota import missing  # noqa: F401
    finally:
        for name in list(sys.modules):
            if name.split(".")[0] == "ivota":
                del sys.modules[name]
        sys.modules.update(before)


def lost(message="time_out"):
    return OtaError(TIMED_OUT, message, True)


def test_a_whole_update():
    with World() as world:
        world.client()
        world.push()
        world.spin()
        assert world.requests == [("http://h/f", 0, None)]
        states = world.states()
        assert states[0] == ("downloading", "0")
        assert states[-2:] == [("downloading", "100"), ("burning", "0")]
        assert world.failures == [] and len(world.got) == 1
        firmware = world.got[0]
        assert firmware.path == world.path + "/fw/0.2.bin"
        assert (firmware.version, firmware.size, firmware.payload_size) == ("0.2", 20000, 20000)
        assert push_of(world.data).find(firmware.md5.encode()) > 0
        assert read_file(firmware.path) == world.data
        assert os.listdir(world.path + "/fw") == ["0.2.bin"]
        assert world.source.closed


def test_quality_of_service():
    with World() as world:
        world.client()
        world.push()
        world.spin()
        world.made.update_progress("done")
        world.spin()
        found = set()
        for qos, message in world.made.link.sent:
            found.add((message["report"].get("progress", {}).get("state"), qos))
        assert found == {(None, 1), ("downloading", 0), ("burning", 1), ("done", 1)}


def test_progress_at_most_once_a_second_and_at_100():
    with World(60000) as world:
        pieces = []
        for at in range(0, 60000, 500):
            pieces += [world.data[at : at + 500]] + [8]
        world.answers = [pieces]
        world.client()
        world.push()
        times = []
        publish = world.made.link.publish

        def spy(topic, payload, qos):
            if not qos:
                times.append(world.clock.now_ms())
            return publish(topic, payload, qos)

        world.made.link.publish = spy
        world.spin(30)
        percents = [int(percent) for state, percent in world.states() if state == "downloading"]
        assert percents[0] == 0 and percents[-1] == 100 and percents == sorted(percents)
        gaps = [b - a for a, b in zip(times, times[1:])]
        assert len(gaps) >= 2 and min(gaps[:-1]) >= 1000


def test_four_blocks_a_step_each_with_one_flush_and_the_watchdog_fed():
    with World(100000) as world:
        world.client()
        world.push()
        done, fed, most = [], [], 0
        real = FileTarget.end_block

        def end_block(target):
            done.append(target.position)
            fed.append(0)
            real(target)

        feeding = patched(guarded_socket.hooks, feed=lambda: fed.append(1))
        with feeding, patched(FileTarget, end_block=end_block):
            while not world.got:
                before, reads = len(done), world.source.reads if world.requests else 0
                world.made.step()
                most = max(most, len(done) - before)
                if reads:
                    assert world.source.reads - reads <= 4 * 9
        assert most == 4 and len(done) == 25
        # Never two blocks without the watchdog between them.
        assert b"\0\0" not in bytes(fed)


class Heap:
    """`gc` of a heap with so many bytes free; counts the collections."""

    def __init__(self, free):
        self.free = free
        self.collections = 0

    def mem_free(self):
        return self.free

    def collect(self):
        self.collections += 1


def test_in_a_roomy_heap_modules_stay_until_the_hand_over():
    name = "ivota.verification"  # loaded last, and by no test
    for free, roomy in ((60000, True), (40000, False)):
        heap = Heap(free)
        sys.modules.pop(name, None)
        with World() as world, patched(ivota, gc=heap, roomy=None):
            world.client()
            world.spin(1)
            world.push()
            world.spin(1, lambda: world.made.job)
            before = heap.collections
            world.spin(1, lambda: world.made.job.firmware)
            assert (heap.collections == before, name in sys.modules) == (roomy, roomy)
            world.spin(1, lambda: world.got)
            assert name not in sys.modules and ivota.roomy is roomy
            world.made.update_progress("done")
            world.spin(1)
            assert not ivota._kept


def test_a_frozen_package_stays_loaded():
    """As after any import, in any heap. On ROMFS, the heap decides, as on other file systems."""
    source = read_file(ivota.__file__).decode()
    name = "ivota.status_report"
    places = (
        (".frozen/ivota", True),
        ("/rom/ivota", False),
        ("/lib/ivota", False),
        ("/app/lib/ivota", False),
        ("ivota", False),
    )
    for path, stays in places:
        sys.modules.pop(name, None)
        heap = Heap(20000)
        package = {"__name__": "ivota", "__path__": path}
        exec(source, package)
        package["gc"] = heap
        package["measure_heap"]()
        loaded = package["once"]("status_report")
        assert loaded.notice
        package["let_go"]()
        assert (name in sys.modules, heap.collections == 0) == (stays, stays), path
        assert (package["once"]("status_report") is loaded) == stays, path
    sys.modules.pop(name, None)


def test_after_a_failure_the_heap_is_measured_again():
    heap = Heap(60000)
    with World() as world, patched(ivota, gc=heap, roomy=None):
        world.answers = [[world.data[:5000], 200]]
        client = world.client()
        world.push()
        world.spin(1, lambda: client.job and client.job.fetched)
        assert ivota.roomy
        heap.free = 40000  # the application has used the rest
        world.source.pieces = [MemoryError()]
        world.spin(1, lambda: not ivota.roomy)
        assert not ivota.roomy
        world.spin(100, lambda: world.got, 100)
        assert read_file(world.got[0].path) == world.data


def test_a_push_is_heard_in_a_download_at_full_speed():
    with World(100000) as world:
        world.client()
        world.push()
        world.spin(1, lambda: world.requests)
        world.made.step()
        other = data_of(5000, 9)
        world.push(other, version="0.3")
        world.made.step()
        assert world.made.job.push.version == "0.3"


def test_a_stalled_download_costs_steps_no_time():
    with World() as world:
        world.answers = [[1000]]
        world.client()
        world.push()
        world.spin(1, lambda: world.made.job and world.made.job.phase == "body_download")
        assert not world.made.step()
        assert world.made.next_step_ms() > 0


def test_each_step_feeds_the_watchdog_and_says_whether_there_is_more():
    with World() as world:
        client = world.client()
        world.spin(1)
        fed = []
        client.link.inbox += [b"{}", b"{}"]
        with patched(guarded_socket.hooks, feed=lambda: fed.append(1)):
            assert [client.step() for _ in range(3)] == [True, True, False]
        assert len(fed) == 3


def test_a_step_is_busy_while_bytes_come_and_idle_while_none_do():
    with World(9000) as world:
        world.answers = [
            [world.data[:5000], 2, world.data[5000:8000], 1, OSError(5)],
            [1, world.data[8000:]],
        ]
        waits = [1, 0]
        client = world.client(defer=lambda what, _push: waits.pop(0) if what == "download" else 0)
        world.spin(1)
        world.push()
        said = []
        while not world.got:
            phase = client.job and client.job.phase
            more = client.step()
            if not said or said[-1] != (phase, more):
                said.append((phase, more))
            world.clock.advance_ms(250)
        for phase, more in (
            (None, True),  # the push came
            ("download_preparation", False),  # the application defers it
            ("download_preparation", True),
            ("http_request", True),
            ("response_check", True),
            ("body_download", False),  # a block is full, and nothing more is there
            ("body_download", True),  # the connection was lost
            ("http_request", False),  # the back-off
            ("http_request", True),
            ("response_check", True),
            ("body_download", False),
            ("body_download", True),
            ("verification", True),
        ):
            assert said.pop(0) == (phase, more), said
        assert not said and not client.step()


def test_a_step_is_idle_while_the_hand_over_waits():
    with World() as world:
        waits = [1, 0]
        client = world.client(defer=lambda what, _push: waits.pop(0) if what == "install" else 0)
        world.push()
        world.spin(1, lambda: len(waits) == 1)
        assert not client.step()  # the application defers it
        client.link.acks = False
        world.clock.advance_ms(1000)
        assert [client.step() for _ in range(3)] == [
            True,
            False,
            False,
        ]  # the cloud has yet to know
        client.link.acks = True
        assert [client.step() for _ in range(3)] == [True, False, False] and world.got


def test_a_message_makes_a_step_busy_though_the_download_waits():
    with World() as world:
        world.answers = [[1000]]
        client = world.client()
        world.push()
        world.spin(1, lambda: client.job and client.job.phase == "body_download")
        client.link.inbox.append(b"{}")
        assert [client.step(), client.step()] == [True, False]


def test_resume_by_identity():
    with World() as world:
        world.answers = [[world.data[:9000], 200]]
        client = world.client()
        world.push()
        world.spin(0.3)
        client.exit()
        client.close()
        assert world.source.closed
        assert json_file.load(world.path + "/fw/0.2.json")["position"] == 9000
        client = world.client()
        world.push(world.data, url="http://h/other?sign=2")
        world.spin()
        assert world.requests[-1] == ("http://h/other?sign=2", 9000, None)
        assert world.states()[0] == ("downloading", "45")
        assert read_file(world.got[0].path) == world.data


def test_a_power_cut_resumes_at_the_durable_length():
    with World() as world:
        world.answers = [[world.data[:9000], 200]]
        world.client()
        world.push()
        world.spin(0.3)
        # No orderly stop: what was not flushed is gone.
        whole = read_file(world.path + "/fw/0.2.bin")[:8188]
        world.made.job.target.file.close()
        write_file(world.path + "/fw/0.2.bin", whole)
        assert json_file.load(world.path + "/fw/0.2.json")["position"] == 0
        world.client()
        world.push()
        world.spin()
        assert world.requests[-1][1] == 8188
        assert read_file(world.got[0].path) == world.data


def test_a_server_that_ignores_range():
    with World() as world:
        world.answers = [[world.data[:9000]], [world.data]]
        world.client()
        world.push()
        world.spin(0.5)
        world.skip = 9000
        world.spin()
        assert world.requests[1][1] == 9000
        assert read_file(world.got[0].path) == world.data


def test_early_ends_resets_and_stalls_resume():
    with World() as world:
        world.answers = [
            [world.data[:5000]],
            [world.data[5000:6000], OSError(104)],
            lost("HTTP 503"),
            [world.data[6000:9000], 100000],
        ]
        world.client()
        world.push()
        world.spin(200, lambda: world.got, 100)
        assert [offset for _, offset, _ in world.requests] == [0, 5000, 6000, 6000, 9000]
        assert read_file(world.got[0].path) == world.data
        assert world.finals() == [] and world.failures == []


def test_progress_refills_the_budget():
    with World(50000) as world:
        world.client()
        world.push()
        tries = []
        plain = world.request

        def flaky(url, offset, *args):
            tries.append(offset)
            if len(tries) % 3:
                raise lost()
            world.answers = [[world.data[offset : offset + 9000]]]
            return plain(url, offset, *args)

        with patched(http_request, send_request=flaky):
            world.spin(1000, lambda: world.got, 100)
        assert len(tries) > 12


def test_the_budget_is_spent_once():
    with World() as world:
        world.answers = [lost("HTTP 500")] * 50
        world.client()
        world.push()
        world.spin(100, pace_ms=100)
        assert len(world.requests) == 4  # the first, and job_tries more
        assert world.finals() == [("fail", "-1", "time_out: HTTP 500 (after 3x HTTP 500)")]
        assert [error.code for error in world.failures] == [TIMED_OUT]
        assert world.got == []


def test_tries_wait_longer_each_time():
    with World() as world:
        world.answers = [lost()] * 50
        world.client(config={"retry": {"first_s": 4, "job_tries": 6}})
        world.push()
        times = []
        plain = world.request

        def noted(*args):
            times.append(world.clock.now_ms())
            return plain(*args)

        with patched(http_request, send_request=noted):
            world.spin(1000, pace_ms=100)
        gaps = [b - a for a, b in zip(times, times[1:])]
        assert len(gaps) == 6
        assert 2000 <= gaps[0] <= 4100 and gaps[5] >= 64000


def test_what_the_server_asks_for_is_waited():
    with World() as world:
        world.answers = [OtaError(TIMED_OUT, "HTTP 503", True, 30)]
        world.client()
        world.push()
        world.spin(29)
        assert len(world.requests) == 1
        world.spin(3)
        assert len(world.requests) == 2 and world.got


def test_a_spent_budget_keeps_the_download():
    with World() as world:
        world.answers = [[world.data[:9000]]] + [lost()] * 4
        world.client()
        world.push()
        world.spin(100, pace_ms=100)
        assert [final[:2] for final in world.finals()] == [("fail", "-1")]
        world.push()
        world.spin(20)
        assert world.requests[-1][1] == 9000
        assert world.got


def test_no_block_in_time():
    with World() as world:
        drip = []
        for _ in range(1000):
            drip += [b"x"] + [500]
        world.answers = [drip]
        world.client(config={"http": {"deadline_s": 7}})
        world.push()
        start = world.clock.now_ms()
        world.spin(20, lambda: len(world.requests) == 2)
        assert 7000 <= world.clock.now_ms() - start <= 9000


def test_a_file_that_is_gone():
    with World() as world:
        world.answers = [OtaError(NOT_FOUND, "HTTP 404")]
        world.client()
        world.push()
        world.spin(50)
        assert world.finals() == [("fail", "-2", "HTTP 404")]
        assert len(world.requests) == 1
        assert os.listdir(world.path + "/fw") == []


def test_expired_once_asks_for_a_fresh_url():
    with World() as world:
        world.answers = [[world.data[:9000]], OtaError(EXPIRED, "HTTP 403")]
        world.client()
        world.push()
        world.spin(4)
        assert len(world.requests) == 2 and world.versions() == ["0.1"] * 2
        start = world.clock.now_ms()
        world.push(world.data, url="http://h/fresh")
        world.spin(40, lambda: world.got)
        assert world.clock.now_ms() - start < 2000
        assert world.requests[-1] == ("http://h/fresh", 9000, None)
        assert world.finals() == [] and world.failures == []


def test_expired_again_is_minus_3():
    with World() as world:
        world.answers = [OtaError(EXPIRED, "HTTP 403")] * 9
        world.client()
        world.push()
        world.spin(1)
        world.push(world.data, url="http://h/fresh")
        world.spin(40)
        assert len(world.requests) == 2
        assert [final[:2] for final in world.finals()] == [("fail", "-3")]
        assert "HTTP 403" in world.finals()[0][2]


def test_expired_and_no_fresh_url_comes():
    with World() as world:
        world.answers = [OtaError(EXPIRED, "HTTP 403")] * 9
        world.client()
        world.push()
        world.spin(29)
        assert world.finals() == []
        world.spin(5)
        assert [final[:2] for final in world.finals()] == [("fail", "-3")]
        assert len(world.failures) == 1


def test_the_cloud_cannot_answer_what_it_has_not_heard():
    """However long the broker is away: the time for a fresh URL begins when it has the report."""
    with World() as world:
        world.answers = [[world.data[:9000]], OtaError(EXPIRED, "HTTP 403")]
        world.client()
        world.push()
        world.spin(0.5)
        world.made.link.drop()
        world.spin(200)
        assert world.finals() == [] and len(world.requests) == 2
        world.made.link.connect()
        world.push(world.data, url="http://h/fresh")
        world.spin(5)
        assert world.requests[-1] == ("http://h/fresh", 9000, None)
        assert world.got and world.failures == []


def test_expired_after_progress_asks_again():
    with World() as world:
        expired = OtaError(EXPIRED, "HTTP 403")
        world.answers = [expired, [world.data[:9000]], expired, None]
        world.client()
        for n in range(2):
            world.push(world.data, url="http://h/%d" % n)
            world.spin(4)
        world.push(world.data, url="http://h/2")
        world.spin(40, lambda: world.got)
        assert world.finals() == []


def test_wrong_content_is_minus_4_and_deleted():
    with World() as world:
        world.answers = [[b"?" + world.data[1:]]]
        world.client()
        world.push()
        world.spin()
        state, code, message = world.finals()[0]
        assert (state, code) == ("fail", "-4") and "MD5" in message
        assert len(world.finals()) == 1
        assert os.listdir(world.path + "/fw") == []
        assert world.got == [] and world.failures[0].code == MISMATCH


def test_a_file_from_before_that_is_wrong_is_downloaded_again():
    with World() as world:
        os.mkdir(world.path + "/fw")
        write_file(world.path + "/fw/0.2.bin", b"?" * len(world.data))
        world.client()
        world.push()
        world.spin()
        assert [offset for _, offset, _ in world.requests] == [0]
        assert read_file(world.got[0].path) == world.data
        assert world.finals() == []


def test_a_whole_file_from_before_needs_no_server():
    with World() as world:
        os.mkdir(world.path + "/fw")
        write_file(world.path + "/fw/0.2.bin", world.data)
        world.client()
        world.push()
        world.spin()
        assert world.requests == [] and len(world.got) == 1
        assert world.states()[0] == ("downloading", "100")


def test_the_server_has_something_else_now():
    with World() as world:
        world.answers = [[world.data[:9000]], OtaError(MISMATCH, "HTTP 416", True), None]
        world.client()
        world.push()
        world.spin(20, lambda: world.got)
        assert [offset for _, offset, _ in world.requests] == [0, 9000, 0]
        assert read_file(world.got[0].path) == world.data


def test_afresh_once_and_then_as_any_fault():
    with World() as world:
        world.answers = [[world.data[:9000]]] + [OtaError(MISMATCH, "HTTP 416", True)] * 9
        world.client()
        world.push()
        world.spin(60)
        assert [offset for _, offset, _ in world.requests] == [0, 9000] + [0] * 3
        assert [final[:2] for final in world.finals()] == [("fail", "-1")]
        assert "HTTP 416" in world.finals()[0][2]
        assert os.listdir(world.path + "/fw") == []


def test_etags_that_differ_each_time_cost_one_new_start():
    # Servers that share the load may each have their own: the MD5 decides.
    with World() as world:
        world.etag = '"a"'
        changed = OtaError(MISMATCH, "the file on the server has changed", True)
        world.answers = [[world.data[:9000]], changed, [world.data[:9000]]]
        world.client()
        world.push()
        world.spin()
        assert [(offset, etag) for _, offset, etag in world.requests] == [
            (0, None),
            (9000, '"a"'),
            (0, None),
            (9000, None),
        ]
        assert read_file(world.got[0].path) == world.data


def test_an_exit_between_discard_and_new_start():
    with World() as world:
        world.answers = [[world.data[:9000]], OtaError(MISMATCH, "HTTP 416", True)]
        client = world.client()
        world.push()
        world.spin(20, lambda: len(world.requests) == 2)
        client.close()
        client = world.client()
        world.push()
        world.spin()
        assert read_file(world.got[0].path) == world.data


def test_the_etag_goes_with_the_next_request():
    with World() as world:
        world.etag = '"a"'
        world.answers = [[world.data[:9000]]]
        world.client()
        world.push()
        world.spin()
        assert world.requests == [("http://h/f", 0, None), ("http://h/f", 9000, '"a"')]


def test_the_same_push_gives_a_new_url_for_later():
    with World() as world:
        world.answers = [[world.data[:5000], 50, world.data[5000:9000]]]
        world.client()
        world.push()
        world.spin(0.05)
        source = world.source
        world.push(world.data, url="http://h/second")
        world.spin(3, lambda: world.got)
        assert source.pieces == []  # it was not interrupted
        assert world.requests == [("http://h/f", 0, None), ("http://h/second", 9000, None)]


def test_a_redirect_is_a_step_of_its_own():
    with World() as world:
        client = world.client()
        world.redirects = ["http://h/%d" % n for n in range(5)]
        world.push()
        world.spin(1, lambda: world.requests)
        for n in range(5):
            assert len(world.requests) == n + 1
            client.step()  # the answer
            client.step()  # the next request
        world.spin()
        assert [url for url, _, _ in world.requests] == ["http://h/f"] + [
            "http://h:80/%d" % n for n in range(5)
        ]
        assert read_file(world.got[0].path) == world.data


def test_five_redirects_and_no_more_then_from_the_first_url():
    with World() as world:
        world.client()
        world.redirects = ["http://h/again"] * 6
        world.push()
        world.spin(20, lambda: world.got)
        assert [url for url, _, _ in world.requests].count("http://h/f") == 2
        assert len(world.requests) == 7
        assert [fields["why"] for _, event, fields in world.log if event == "retry"] == [
            "too many redirects"
        ]


def test_another_push_switches():
    with World() as world:
        other = data_of(7000, 9)
        world.answers = [[world.data[:9000]] + [500], [other]]
        world.client()
        world.push()
        world.spin(0.5)
        first = world.source
        world.push(other, version="0.3")
        world.spin()
        assert first.closed
        assert [firmware.version for firmware in world.got] == ["0.3"]
        assert read_file(world.got[0].path) == other
        percents = [int(percent) for state, percent in world.states() if state == "downloading"]
        assert percents.count(0) == 2 and percents[-1] == max(percents) == 100, percents


def test_two_updates_in_one_run_start_clean():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        client.update_progress("done")
        world.spin()
        world.clear()
        world.data = data_of(9000, 5)
        world.push(world.data, version="0.3")
        world.spin()
        assert [firmware.version for firmware in world.got] == ["0.2", "0.3"]
        assert world.states()[0] == ("downloading", "0")
        assert ("downloading", "100") in world.states()


def test_same_version_with_other_content():
    with World() as world:
        world.answers = [[world.data[:9000], 500]]
        world.client()
        world.push()
        world.spin(0.5)
        world.data = data_of(20000, 99)
        world.push()
        world.spin()
        assert world.requests[-1][1] == 0
        assert read_file(world.got[0].path) == world.data


def test_a_push_of_what_runs_is_ignored():
    with World() as world:
        world.client(version="0.2")
        world.push()
        world.spin()
        assert world.requests == [] and world.states() == []


def test_a_rejected_firmware_is_answered_at_once():
    with World() as world:
        world.client()
        md5 = push_of(world.data).split(b'md5sum": "')[1][:32].decode()
        result_report.post(world.state, "x", md5, "crashed in its trial")
        world.push(world.data, task_id=5)
        world.spin()
        assert ("fail", "-5", "crashed in its trial") in world.finals()
        assert world.requests == []
        assert world.made.link.sent[-1][1]["report"]["task_id"] == 5


def test_no_room():
    with World() as world:
        world.client()
        world.push(world.data, file_size=1 << 60)
        world.spin()
        state, code, message = world.finals()[0]
        assert (state, code) == ("fail", "-5") and "not enough space" in message
        assert len(world.finals()) == 1 and world.requests == []


def test_the_name_of_what_runs_is_refused():
    with World() as world:
        world.client()
        world.state.active = world.path + "/fw/0.2.bin"
        world.push()
        world.spin()
        assert [final[:2] for final in world.finals()] == [("fail", "-5")]


def test_an_error_of_the_flash_is_minus_5():
    with World() as world:
        world.client()
        world.push()

        def receive(target, raw, left):
            target.position += 1  # as before a write that fails
            raise OSError(5)

        with patched(FileTarget, receive=receive):
            world.spin()
        state, code, message = world.finals()[0]
        assert (state, code) == ("fail", "-5") and "flash" in message
        assert world.failures[0].code == FAILED
        assert len(world.finals()) == 1


def test_failures_make_the_next_try_wait():
    with World() as world:
        world.client(config={"retry": {"first_s": 10, "rest_most_s": 50, "job_tries": 0}})
        waits = []
        for _ in range(5):
            world.answers = [OtaError(NOT_FOUND, "HTTP 404")]
            start = world.clock.now_ms()
            before = len(world.requests)
            world.push()
            world.spin(200, lambda before=before: len(world.requests) > before, 100)
            waits.append((world.clock.now_ms() - start) // 1000)
            world.spin(1)
        assert waits == [0, 20, 40, 50, 50]
        assert len(world.finals()) == 5


def test_another_firmware_does_not_wait_for_that():
    with World() as world:
        world.client(config={"retry": {"first_s": 1000}})
        world.answers = [OtaError(NOT_FOUND, "HTTP 404")]
        world.push()
        world.spin(2)
        other = data_of(100, 9)
        world.answers = [[other]]
        world.push(other, version="0.3")
        world.spin(2)
        assert [firmware.version for firmware in world.got] == ["0.3"]


def test_time_outs_that_brought_something_do_not_add_up():
    """A link so bad that no try reaches the end gets there all the same, without days of rest."""
    with World(60000) as world:
        world.client()
        while not world.got:
            at = len(read_file(world.path + "/fw/0.2.bin")) if world.failures else 0
            world.answers = [[world.data[at : at + 9000]]] + [lost()] * 3
            world.push()
            world.spin(80, pace_ms=50)
        assert len(world.failures) > 4
        assert failure_record.count(world.state, world.state.failures[0]) == 1
        offsets = [offset for _, offset, _ in world.requests]
        assert offsets == sorted(offsets)


def test_time_outs_that_brought_nothing_add_up():
    with World() as world:
        world.client()
        for _ in range(4):
            world.answers = [lost()] * 4
            world.push()
            world.spin(80, pace_ms=50)
        assert world.state.failures[1] == 4
        assert os.listdir(world.path + "/fw") == []


def test_pushes_of_ever_new_firmware_do_not_wear_out_the_flash():
    """A day's worth at once, then one an hour, over restarts too; time gives them back."""
    with World(5000) as world:
        world.client(config={"retry": {}})

        def update(seed, hours):
            world.data = data_of(5000, seed)
            before = len(world.got)
            world.push(world.data, version="1.%d" % seed)
            start = world.clock.now_ms()
            world.spin(hours * 3600, lambda: len(world.got) > before, 1000)
            world.made.update_progress(*(("done",) if seed % 2 else ("fail", -5, "no")))
            world.spin(10)
            return (world.clock.now_ms() - start) / 3600000

        assert sum(update(seed, 1) for seed in range(24)) < 1
        world.client(config={"retry": {}})
        waits = [update(seed, 2) for seed in range(24, 30)]
        assert all(0.9 < wait < 1.1 for wait in waits[1:]), waits
        world.clock.advance_ms(5 * 3600000)
        assert sum(update(seed, 1) for seed in range(30, 35)) < 0.5


def test_pushes_that_bring_no_byte_do_not_wear_out_the_flash_either():
    """What fails at once, what has no room, what the next push takes the place of."""
    writes = []
    real = json_file.save

    def save(path, value):
        writes.append(path)
        real(path, value)

    for answer, more in (
        (OtaError(NOT_FOUND, "HTTP 404"), {}),
        (None, {"file_size": 1 << 60}),
        ([1 << 30], {}),
    ):
        writes.clear()
        with World() as world, patched(json_file, save=save):
            world.client(config={"retry": {}})
            for n in range(40):
                world.answers = [answer] * 20
                world.push(world.data, version="1.%d" % n, md5sum="%032d" % n, **more)
                world.spin(1)
            # A checkpoint, the report, and that it was acknowledged.
            many = len(writes)
            assert 24 <= many <= 24 * 3
            assert "rest" in [event for _, event, _ in world.log]
            world.spin(3600, pace_ms=1000)  # the last one's turn
            assert many < len(writes) <= many + 3


def test_a_resume_is_no_new_download():
    with World() as world:
        world.client(config={"retry": {}})
        world.answers = [[world.data[:9000], 10**6]]
        world.push()
        world.spin(1)
        world.made.close()
        world.state.worn_until = world.clock.time() + 86400
        state_file.save(world.state)
        world.client(config={"retry": {}})
        world.push()
        world.spin(2)
        assert world.got


def test_a_clock_that_was_set_opens_a_new_account():
    with World() as world:
        world.client(config={"retry": {}})
        world.state.worn_until = world.clock.time() + 10**8
        world.push()
        world.spin(2)
        assert world.got
        assert 3590 < world.state.worn_until - world.clock.time() <= 3600


def test_an_update_after_weeks_begins_at_once():
    with World() as world:
        world.client(connect=False)
        for _ in range(30 * 24):
            world.clock.advance_ms(3600000)
            world.made.step()
        world.made.link.connect()
        world.push()
        world.spin(5, lambda: world.got)


def test_defer_the_download():
    with World() as world:
        asked = []

        def defer(what, push):
            asked.append((what, push.version))
            return 60 if what == "download" and len(asked) < 3 else 0

        world.client(defer=defer)
        world.push()
        world.spin(150, pace_ms=200)
        assert asked == [("download", "0.2")] * 3 + [("install", "0.2")]
        assert world.got
        assert world.clock.now_ms() >= 120000


def test_defer_the_install():
    with World() as world:
        times = []

        def defer(what, _push):
            if what == "install":
                times.append(world.clock.now_ms())
                return 0 if len(times) > 2 else 3600
            return 0

        world.client(defer=defer)
        world.push()
        world.spin(3000, pace_ms=1000)
        assert world.got == [] and ("burning", "0") not in world.states()
        world.spin(5000, pace_ms=1000)
        assert len(world.got) == 1 and len(times) == 3
        assert times[1] - times[0] >= 3600000


def test_a_deferred_download_takes_a_newer_push():
    with World() as world:
        world.client(defer=lambda what, push: 0 if push.version == "0.3" else 600)
        world.push()
        world.spin(1)
        other = data_of(100, 9)
        world.answers = [[other]]
        world.push(other, version="0.3")
        world.spin(2)
        assert [firmware.version for firmware in world.got] == ["0.3"]


class Checked:
    """An `on_firmware` that looks at the firmware in steps first."""

    def __init__(self, steps=3, error=None):
        self.steps = steps
        self.error = error
        self.checks = 0
        self.got = []

    def check(self, _firmware):
        self.checks += 1
        if self.error:
            raise self.error
        return self.checks >= self.steps

    def __call__(self, firmware):
        self.got.append(firmware)


def test_check_is_called_step_by_step():
    with World() as world:
        callback = Checked(5)
        world.client(on_firmware=callback)
        world.push()
        world.spin()
        assert callback.checks == 5 and len(callback.got) == 1


def test_what_check_refuses_is_removed():
    with World() as world:
        callback = Checked(5, OtaError(FAILED, "the bundle can't be used"))
        world.client(on_firmware=callback)
        world.push()
        world.spin()
        assert world.finals() == [("fail", "-5", "the bundle can't be used")]
        assert ("burning", "0") not in world.states()
        assert callback.got == [] and os.listdir(world.path + "/fw") == []


def test_the_application_gets_it_after_burning_is_known():
    with World() as world:
        world.client()
        link = world.made.link
        world.spin(0.1)
        link.acks = False
        world.push()
        world.spin(20, lambda: ("burning", "0") in world.states())
        world.spin(1)
        assert world.got == []
        link.ack()
        world.spin(1)
        assert len(world.got) == 1


def test_a_silent_cloud_does_not_keep_it_back_for_long():
    with World() as world:
        world.client()
        world.made.link.acks = False
        world.push()
        world.spin(10)
        assert len(world.got) == 1


def test_what_the_application_raises_is_minus_5_once():
    def burn(_firmware):
        raise ValueError("no such motor")

    with World() as world:
        world.client(on_firmware=burn)
        world.push()
        world.spin()
        state, code, message = world.finals()[0]
        assert (state, code) == ("fail", "-5") and "no such motor" in message
        assert len(world.finals()) == 1 and len(world.failures) == 1
        assert os.listdir(world.path + "/fw") == []


def test_an_ota_error_of_the_application_keeps_its_words():
    def burn(_firmware):
        raise OtaError(FAILED, "the motor says no")

    with World() as world:
        world.client(on_firmware=burn)
        world.push()
        world.spin()
        assert world.finals() == [("fail", "-5", "the motor says no")]


def test_an_os_error_of_the_application_is_not_the_flashs():
    def burn(_firmware):
        raise OSError("no such motor")

    with World() as world:
        world.client(on_firmware=burn)
        world.push()
        world.spin()
        assert "flash" not in world.finals()[0][2]


def test_a_push_of_what_is_burning_is_ignored():
    with World() as world:
        world.client()
        world.push()
        world.spin()
        world.push(world.data, url="http://h/again")
        world.spin()
        assert len(world.got) == 1 and len(world.requests) == 1


def test_nothing_starts_while_a_trial_runs():
    with World() as world:
        json_file.save(
            world.path + "/state.json",
            {"active": "/x.bin", "trial": {"version": "0.1", "md5sum": "0", "limits": [3, 10]}},
        )
        world.client(connect=False, config={"trial": {"confirm": "application"}})
        world.made.link.connect()
        world.push()
        world.spin(5)
        assert world.requests == []
        world.made.confirm()
        world.spin(5)
        assert world.finals() == [("done", "0", "")]
        assert world.got


def test_idle_says_when_it_is_safe_to_sleep_and_for_how_long():
    with World() as world:
        client = world.client()
        assert client.may_sleep_ms() == 0  # the version is not reported yet
        world.spin(1)
        assert client.may_sleep_ms() == 0  # the cloud may answer with a push
        world.spin(2)
        assert 250000 <= client.may_sleep_ms() <= 338000
        world.push()
        world.spin(1, lambda: world.requests)
        assert client.may_sleep_ms() == 0
        world.spin(5)
        assert world.got and client.may_sleep_ms() == 0  # it is burning
        client.update_progress("done")
        world.spin(5)
        assert client.may_sleep_ms() > 0
        client.link.acks = False
        client.report_version()
        world.spin(10)
        assert client.may_sleep_ms() == 0  # it is not acknowledged
        client.link.ack()
        assert client.may_sleep_ms() == 0  # and may be answered from now on
        world.spin(3)
        assert client.may_sleep_ms() > 0
        client.link.drop()
        assert client.may_sleep_ms() == 0


def test_run_ends_at_exit():
    with World() as world:
        client = world.client()
        steps = []
        real = client.step

        def step():
            steps.append(1)
            if len(steps) == 10:
                client.exit()
            return real()

        client.step = step
        client.run()
        assert client.exiting and not client.restart and len(steps) == 10
        assert client.link.closed == 1


def test_bad_configuration():
    with raises(ConfigError, "missing"):
        Client({}, "0.1", print)


def test_a_cloud_that_says_nothing_is_spoken_of():
    with World() as world:
        client = world.client()
        world.spin(59, pace_ms=100)
        assert "no_answer" not in [event for _, event, _ in world.log]
        world.spin(400, pace_ms=100)
        said = [fields["why"] for _, event, fields in world.log if event == "no_answer"]
        assert len(said) == 1 and "topics" in said[0]
        client.link.drop()
        client.link.connect()
        world.answer("0.1")
        world.spin(400, pace_ms=100)
        assert len([event for _, event, _ in world.log if event == "no_answer"]) == 1
