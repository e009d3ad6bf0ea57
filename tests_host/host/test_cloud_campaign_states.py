"""The pure parts of a fleet: versions, queries, and what a campaign does next."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_support import new_database

from ivota_tools.cloud.mqtt.messages import REPORT_PROGRESS, Report
from ivota_tools.cloud.rollout import assignment_states, campaign_rules, device_query
from ivota_tools.cloud.rollout.campaign_rules import Step, Tally
from ivota_tools.cloud.rollout.device_query import QueryError
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Assignment, Campaign, Device, DeviceTag, Firmware
from ivota_tools.common.version_order import is_older, key

# -- versions -------------------------------------------------------------------------------


def test_versions_are_compared_by_their_numbers():
    in_order = ["", "0.1", "0.2-rc1", "0.2-rc2", "0.2", "0.2.1", "0.9", "0.10", "v1", "1.0.1", "2"]
    assert sorted(reversed(in_order), key=key) == in_order
    assert is_older("0.9", "0.10") and not is_older("0.10", "0.9")
    for one, other in (("1.0", "1"), ("v1.2", "1.2"), ("1.2+linux", "1.2"), ("1.2", "1.2")):
        assert not is_older(one, other) and not is_older(other, one)


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_versions_can_be_compared(one, other):
    """By their parts, one after the other; the key is text for the database's sake."""
    assert key(one).isascii() and not (is_older(one, other) and is_older(other, one))


@given(*[st.lists(st.integers(0, 2000) | st.sampled_from(["a", "ab", "rc"]), max_size=4)] * 2)
def test_a_key_sorts_like_the_parts_of_its_version(one, other):
    def parts(version):
        kept = [*version]
        while kept and kept[-1] == 0:
            kept.pop()
        ranked = [(1, each, "") if isinstance(each, int) else (-1, 0, each) for each in kept]
        return [*ranked, (0, 0, "")]

    keys = (key(".".join(map(str, version))) for version in (one, other))
    assert (next(keys) < next(keys)) is (parts(one) < parts(other))


# -- queries --------------------------------------------------------------------------------

NOW = 1_800_000_000.0


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fleet(request, tmp_path_factory):
    """A database with one board, and with one that has never reported."""
    file = tmp_path_factory.mktemp("fleet") / "ivota.db"
    database = Database(file if request.param == "sqlite" else new_database())
    with database.writing() as session:
        board = Device(product_id="P", device_name="lab-3", version="0.10", last_seen=NOW - 7200,
                       application="blink", hardware="ESP32C3", chip="esp32c3")  # fmt: skip
        board.tags = [DeviceTag(tag="beta"), DeviceTag(tag="two words")]
        session.add_all([board, Device(product_id="Q", device_name="silent")])
    yield database
    database.close()


def matches(fleet, text, name="lab-3"):
    with fleet.reading() as session:
        found = device_query.find(session, text, NOW, 0, 10)
        assert len(found) == device_query.count(session, text, NOW)
        return name in [device.device_name for device in found]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", True),
        ("all", True),
        ("tag:beta", True),
        ("tag:alpha", False),
        ("-tag:alpha", True),
        ("'tag:two words'", True),
        ("tag:beta product:P name:lab-*", True),
        ("tag:beta product:Q", False),
        ("name:lab-3", True),
        ("name:LAB-*", False),
        ("version:0.10", True),
        ("version<0.9", False),
        ("version>0.9", True),
        ("version<=0.10 version>=0.10", True),
        ("-version<0.9", True),
        ("seen<3h", True),
        ("seen<1h", False),
        ("seen>1h seen<0.5d", True),
        ("seen>1h -seen<7d", False),
        ("application:blink hardware:esp32c3", True),
        ("-hardware:esp32", True),
        ("chip:ESP32C3 -chip:esp32", True),
        ("name:lab-[!1]", True),
        ("name:*-[0-27]", False),
        ("name:*[*]*", False),
        ("name:lab-?.", False),
        ("-name:lab-[12]*", True),
    ],
)
def test_queries(fleet, text, expected):
    assert matches(fleet, text) is expected


def test_a_device_that_was_never_heard_of(fleet):
    text = (
        "seen>999d -seen<999d -version<9 -version>0 -version:1 -hardware:h -application:a -chip:c"
    )
    assert matches(fleet, text, "silent") and not matches(fleet, "version>=0", "silent")


@pytest.mark.parametrize(
    "text",
    [
        "beta",
        "tag",
        "tag=",
        "tag:",
        "tag<x",
        "seen:1d",
        "seen<x",
        "seen<1y",
        "version<<3",
        "version:<=0.3",
        "'",
        "x" * 1025,
        "name:[",
        "name:a[]b",
        "name:[b-a]",
        "tag:b*",
        "-product:HO*",
        "application:therm?",
        "name:[a-]",
    ],
)
def test_what_is_no_query(text):
    with pytest.raises(QueryError):
        device_query.parse(text)


@settings(deadline=None)
@given(st.text(alphabet="tagversionseenname:<>=-'\" 0129dh\\[]!*", max_size=60))
def test_any_text_is_a_query_or_refused(text):
    try:
        for term in device_query.parse(text):
            assert device_query.is_term(f"{'-' * term.negated}{term.field}{term.sign}{term.value}")
    except QueryError:
        pass


# -- stages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_stages, total, expected",
    [
        ([], 10, [10]),
        ([], 0, []),
        ([{"count": 1}, {"percent": 10}, {"percent": 100}], 200, [1, 20, 200]),
        ([{"percent": 1}], 50, [1, 50]),
        ([{"percent": 1}, {"percent": 2}], 10, [1, 10]),  # an empty stage is none
        ([{"count": 5}, {"count": 3}], 10, [5, 10]),
        ([{"count": 50}], 10, [10]),
        ([{"percent": 33.4}], 3, [2, 3]),
    ],
)
def test_bounds(given_stages, total, expected):
    assert campaign_rules.bounds(given_stages, total) == expected


class Run:
    """A campaign of three stages of 10, 40 and 50 devices, and a clock."""

    def __init__(self, **rules):
        self.now = 0.0
        self.campaign = Campaign(
            stage=0, waived_done=0, waived_failed=0, waived_stage=-1, stage_good_at=None,
            **{"success_share": 0.9, "soak_s": 60.0, "stop_share": 0.2, "stop_least": 5, **rules},
        )  # fmt: skip
        self.tallies = [Tally(10), Tally(40), Tally(50)]

    def step(self, seconds=0.0):
        self.now += seconds
        return campaign_rules.decide(self.campaign, self.tallies, self.now)

    def reach(self, stage, good=0, failed=0, left_out=0):
        members = self.tallies[stage].members
        self.tallies[stage] = Tally(members, good, failed, left_out)


def test_a_stage_waits_for_its_share_and_then_soaks():
    run = Run()
    run.reach(0, good=8)
    assert run.step() is None and run.step(1000) is None
    run.reach(0, good=9)
    assert run.step() is None and run.step(59.9) is None
    assert run.step(0.1) == Step(next_stage=True)


def test_a_share_that_is_lost_again_soaks_anew():
    run = Run()
    run.reach(0, good=9)
    assert run.step() is None
    run.reach(0, good=8)  # one was given something else by hand and brought back
    assert run.step(50) is None
    run.reach(0, good=9)
    assert run.step(20) is None and run.step(59) is None
    assert run.step(1).next_stage


def test_it_stops_on_failures_but_not_before_the_least_sample():
    run = Run()
    run.reach(0, failed=4)
    assert run.step() is None
    run.reach(0, failed=4, good=1)
    assert run.step() == Step("stopped", "4 of 5 failed")
    run.reach(0, failed=1, good=5)
    assert run.step() is None  # 17 per cent


def test_a_rule_without_a_share_never_stops():
    run = Run(stop_share=None, success_share=0)
    run.reach(0, failed=10)
    assert run.step(0) is None and run.step(60).next_stage


def test_a_stage_that_cannot_reach_its_share_stops():
    run = Run(stop_share=0.5)
    run.reach(0, good=8, failed=2)
    assert run.step() == Step("stopped", "stage 1: only 8 of 10 done, 90 % required")
    run.campaign.waived_stage = 0  # an operator goes on all the same
    assert run.step() is None and run.step(60).next_stage


def test_what_was_waived_is_not_held_against_it_again():
    run = Run(stop_least=4)
    run.reach(0, good=6, failed=4)
    assert run.step().state == "stopped"
    run.campaign.waived_done, run.campaign.waived_failed, run.campaign.waived_stage = 6, 4, 0
    assert run.step() is None
    run.reach(1, good=2, failed=2)
    assert run.step() == Step("stopped", "2 of 4 failed since it was resumed")


def test_a_failure_that_was_waived_and_is_tried_again_counts_anew():
    run = Run(stop_least=1, success_share=0)
    run.reach(0, failed=4)
    assert run.step().state == "stopped"
    run.campaign.waived_failed = 4
    assert run.step() is None
    run.reach(0, failed=3)  # an operator tries one of them again, or it reports `done` after all
    assert run.step() is None
    run.reach(0, failed=4)
    assert run.step() == Step("stopped", "1 of 1 failed since it was resumed")


def test_devices_that_are_left_out_hold_nothing_up():
    run = Run(soak_s=0)
    run.reach(0, good=1, left_out=9)
    assert run.step().next_stage
    run.reach(0, left_out=10)
    assert run.step().next_stage


def test_the_last_stage_ends_when_every_device_has():
    run = Run(soak_s=0, stop_share=0.5)
    for stage in range(2):
        run.reach(stage, good=run.tallies[stage].members)
    run.campaign.stage = 2
    run.reach(2, good=30, failed=19)
    assert run.step() is None
    run.reach(2, good=30, failed=20)
    assert run.step() == Step("finished")


def test_a_campaign_without_devices_is_finished():
    run = Run()
    run.tallies = []
    assert run.step() == Step("finished")


# -- one device of a campaign ---------------------------------------------------------------


def attempt(running="1", only_outdated=False):
    made = Assignment(firmware=Firmware(version="2"), pushes=0, soft_failures=0, hard_failures=0,
                      state="", only_outdated=only_outdated)  # fmt: skip
    assignment_states.begin(made, running, 0)
    return made


def test_cancelled_is_for_good_also_in_mid_download():
    made = attempt()
    assignment_states.on_pushed(made, 1)
    made.state = assignment_states.DOWNLOADING
    assignment_states.cancel(made, 2)
    for _ in range(3):
        assignment_states.on_version(made, "1", 3)
        assert (made.state, made.next_push_at) == ("cancelled", None)


def test_only_outdated_leaves_the_newer_alone():
    assert attempt("3").next_push_at == 0
    assert (attempt("3", True).state, attempt("3", True).next_push_at) == ("skipped", None)
    assert attempt("1", True).next_push_at == 0
    late = attempt(None, True)  # was off, comes back with something newer
    assignment_states.on_version(late, "10", 5)
    assert (late.state, late.next_push_at) == ("skipped", None)


def test_a_timeout_fails_unless_the_target_runs():
    made = attempt()
    assignment_states.on_pushed(made, 1)
    assignment_states.time_out(made, 9, "too slow")
    assert (made.state, made.result_msg, made.next_push_at) == ("failed", "too slow", None)
    quiet = attempt()
    assignment_states.on_pushed(quiet, 1)
    assignment_states.on_version(quiet, "2", 2)
    assignment_states.time_out(quiet, 9, "too slow")
    assert quiet.state == "done"
    broken = attempt()
    assignment_states.on_pushed(broken, 1)
    died = Report(REPORT_PROGRESS, "2", "fail", result_code=-5, result_msg="KeyError every_s")
    assignment_states.on_progress(broken, died, 2, assignment_states.BackOff())
    assignment_states.time_out(broken, 9, "too slow")
    assert (broken.state, broken.ended_at, broken.result_msg) == ("failed", 9, "too slow")
    assert (broken.failed_at, broken.failure_code, broken.failure_msg) == (
        2, -5, "KeyError every_s",
    )  # fmt: skip


def test_an_attempt_keeps_a_limited_number_of_failures():
    """A repeated reason adds none: a server that is down fails each device every hour."""
    made, counts = attempt(), []
    for number in range(300):
        assignment_states.on_pushed(made, number)
        failed = Report(REPORT_PROGRESS, "2", "fail", result_code=-1, result_msg=f"{number // 2}")
        assignment_states.on_progress(made, failed, number, assignment_states.BackOff())
        counts.append(made.failure_count)
    assert counts[:4] == [1, 1, 2, 2] and counts[-1] == 100
    assert (made.failed_at, made.failure_msg) == (299, "149")


def test_a_place_is_taken_once_per_download():
    made = attempt()
    assignment_states.on_pushed(made, 1)
    assignment_states.on_version(made, "1", 5)
    assignment_states.on_pushed(made, 6)
    assert (made.started_at, made.first_push_at, made.pushes) == (1, 1, 2)
