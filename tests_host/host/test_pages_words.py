"""The texts of pages: a device's update history, times, sizes, shares."""

from ivota_tools.cloud.pages import formatting
from ivota_tools.cloud.pages.attempt_history import tell
from ivota_tools.cloud.store.models import Assignment, Firmware, Report


def said(at, state, percent=None, code=None, message=None, version="0.2"):
    kind = "report_progress" if state else "report_version"
    return Report(at=at, kind=kind, version=version, state=state, percent=percent,
                  result_code=code, result_msg=message)  # fmt: skip


def attempt(size=1000):
    return Assignment(
        firmware=Firmware(version="0.2", size=size), created_at=0, updated_at=9, first_push_at=1
    )


def test_a_download_in_one_piece_has_no_resumes():
    each = [said(2 + n, "downloading", 10 * n) for n in range(11)]  # as they were stored once
    for reports in (each[:1], each):
        story = tell(attempt(), [*reports, said(20, "burning"), said(21, "done")], [1])
        assert (story.resumes, story.bytes, story.rolled_back) == (0, 1000, False)
        begun = story.events[1]
        assert len(story.events) == 4 and (begun.percent, begun.until - begun.at) == (100, 18)
    going = attempt()
    going.state, going.percent = "downloading", 30
    assert tell(going, each[:1], [1]).bytes == 300


def test_a_push_or_a_restart_in_mid_download_is_a_resume():
    reports = [said(2, "downloading", 0), said(9, None, version="0.1"),
               said(11, "downloading", 40), said(15, "burning")]  # fmt: skip
    story = tell(attempt(), reports, [1, 10])
    assert (story.resumes, story.bytes) == (1, 1000)


def test_an_update_is_over_once_its_attempt_is_closed():
    """Until then what has not happened may still happen, and the page says so."""
    for state, is_open in (("waiting", True), ("retry", True), ("superseded", False)):
        given = attempt()
        given.state = state
        assert tell(given, [], []).open is is_open


def test_a_download_that_begins_anew_is_counted_twice():
    reports = [said(2, "downloading", 0),
               said(4, "fail", 60, code=-4, message="another MD5"),
               said(6, "downloading", 0), said(7, "burning")]  # fmt: skip
    story = tell(attempt(), reports, [1, 5])
    assert story.bytes == 1600 and not story.rolled_back
    assert "the download is corrupt" in story.events[2].text


def test_times_sizes_and_shares_as_people_say_them():
    assert [formatting.span(s) for s in (0, 1.25, 59, 61, 3600, 3720, 90_000, 864_000)] == [
        "0 s", "1.2 s", "59 s", "1 min 1 s", "1 h", "1 h 2 min", "1 d 1 h", "10 d",
    ]  # fmt: skip
    assert [formatting.size(n) for n in (0, 1, 999, 1500, 708_482, 2_500_000)] == [
        "0 bytes", "1 byte", "999 bytes", "1.5 kB", "708 kB", "2.5 MB",
    ]  # fmt: skip
    assert [formatting.percent(s) for s in (0, 0.001, 0.5, 0.999, 1)] == [
        "0 %", "< 1 %", "50 %", "> 99 %", "100 %",
    ]  # fmt: skip
    assert formatting.ago(None) == "never" and formatting.ago(100, 90) == "in 10 s"
    assert formatting.detail('{"size": 2000, "tags": [], "everywhere": true}') == (
        "size: 2.0 kB; tags: none; everywhere"
    )
