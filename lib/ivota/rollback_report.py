"""Report why boot.py or the boot loader rolled back a trial."""

from micropython import const

from ivota import once

_FAILED = const(-5)


def report(client):
    """If boot.py or the boot loader ended a trial, add its report to the outbox, in one write.

    Raises OSError if the flash fails.
    """
    if (client.state.trial or client.state.ended).get("slot"):
        once("image_trial").begin(client)
    ended = client.state.ended
    if ended:
        why = ended["why"]
        if "died" in ended:
            died = ended["died"]
            why += ", " + (died[0] if isinstance(died, list) else died)  # in a list once counted
        elif why == "crashed in its trial":  # only the watchdog leaves no exception
            why = "hung in its trial: the watchdog reset the board"
        once("result_report").post(
            client.state,
            client.dialect.report_progress(
                "fail", ended["version"], None, _FAILED, why, ended.get("echo")
            ),
            ended.get("md5sum"),
            why if ended.get("reject") else None,
        )
