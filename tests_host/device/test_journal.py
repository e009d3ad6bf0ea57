"""The last update's events: kept within 2 KiB, summed up, passed on."""

from ivota.journal import Journal


def test_without_a_hook_it_is_quiet_and_keeps_only_updates():
    log = Journal()
    log("info", "connected")
    assert log.lines == []
    log("info", "update", version="0.2", size=7)
    log("warning", "retry", why="reset", again_ms=500)
    log("error", "failed", code=-1, why="time_out")
    log("info", "connected")
    assert log.lines == [
        "update size=7 version=0.2",
        "retry again_ms=500 why=reset",
        "failed code=-1 why=time_out",
    ]


def test_a_hook_gets_every_event():
    seen = []
    log = Journal(lambda level, event, **fields: seen.append((level, event, fields)))
    log("info", "connected")
    log("warning", "link_lost", why="reset", again_ms=1)
    assert seen == [
        ("info", "connected", {}),
        ("warning", "link_lost", {"why": "reset", "again_ms": 1}),
    ]


def test_at_most_two_kib_are_kept_the_oldest_go():
    log = Journal()
    log("info", "update", version="0.2", size=7)
    for i in range(200):
        log("info", "connecting", host="broker%d" % i, port=1883)
    assert sum(len(line) for line in log.lines) <= 2048
    assert log.lines[-1] == "connecting host=broker199 port=1883"
    log("info", "connecting", host="x" * 5000, port=1)
    assert max(len(line) for line in log.lines) <= 200


def test_the_summary_counts_what_was_retried():
    log = Journal()
    assert log.summary() == ""
    log("info", "update", version="0.2", size=7)
    for why in ("stall", "reset", "stall", "stall", "reset"):
        log("warning", "retry", why=why, again_ms=1)
    assert log.summary() == "3x stall, 2x reset"
    log("info", "update", version="0.3", size=7)
    assert log.summary() == ""


def test_the_summary_is_bounded():
    log = Journal()
    log("info", "update", version="0.2", size=7)
    for i in range(50):
        log("warning", "retry", why="%d " % i + "y" * 100, again_ms=1)
    assert 0 < len(log.summary()) <= 200
