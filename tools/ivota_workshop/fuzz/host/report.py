"""Store a device's report: read tolerantly, never trusted. The input begins with its topic."""

from __future__ import annotations

from ivota_tools.cloud.mqtt import messages


def check(data: bytes) -> str:
    topic, _, payload = data.partition(b"\n")
    device = messages.device_of(topic.decode(errors="surrogateescape"))
    if device is not None:
        product_id, device_name = device
        for word in device:
            assert 0 < len(word) <= messages.NAME_MOST and word.isprintable()
            word.encode()  # a database accepts no half of a surrogate pair
        assert "/" not in product_id
        update = messages.update_topic(product_id, device_name)
        assert update.startswith("$ota/update/") and update.encode()[12:] == topic[12:]
    report = messages.read_report(payload)
    reports = (messages.REPORT_VERSION, messages.REPORT_PROGRESS, messages.REPORT_NOTICE)
    kinds = (*reports, messages.UNKNOWN, messages.GARBLED)
    assert report.kind in kinds
    if report.version is not None:
        assert 0 < len(report.version) <= messages.VERSION_MOST and report.version.isprintable()
        report.version.encode()
    if report.kind == messages.REPORT_PROGRESS:
        assert report.state in messages.STATES and report.version
        assert report.percent is None or 0 <= report.percent <= 100
        code = report.result_code
        assert code is None or type(code) is int and abs(code) < 10**9
    else:
        rest = (report.state, report.percent, report.result_code, report.result_msg)
        assert rest == (None,) * 4
    if report.result_msg is not None:
        assert len(report.result_msg) <= messages.MESSAGE_MOST
        assert all(char.isprintable() for char in report.result_msg)
        report.result_msg.encode()
    return report.kind
