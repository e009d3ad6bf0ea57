"""Give up a trial in time, and report at the next start why it was given up."""

from micropython import const

from ivota import once

_FAILED = const(-5)


def give_up(client, runs, reached, acked):
    """Roll back a trial whose time is over, and end the client for a restart.

    `runs`: the version on trial is the one that runs; `reached`: the cloud was reached; `acked`:
    the broker has acknowledged a report. Raises OSError if the flash fails.
    """
    if not runs:
        why = "version %s is running instead" % client.version
    elif reached:
        why = "the application did not call confirm()"
    elif acked:
        why = "the broker accepted the reports, but the cloud did not answer"
    else:
        why = "cannot reach the broker"
    once("failure_record").roll_back(client.state, "the trial was not confirmed in time: " + why)
    client.restart = True
    client.exit()


def report(client):
    """If boot.py or the boot loader ended a trial, add its report to the outbox, in one write.

    Raises OSError if the flash fails.
    """
    if (client.state.trial or client.state.ended).get("slot"):
        once("esp32_image").begin(client)
    ended = client.state.ended
    if ended:
        why = ended["why"]
        if "died" in ended:
            died = ended["died"]
            why += ", " + (died[0] if isinstance(died, list) else died)  # in a list once counted
        elif why == "crashed in its trial":  # only the watchdog leaves no exception
            why = "hung in its trial: the watchdog reset the board"
        once("failure_record").post(
            client.state,
            client.dialect.report_progress(
                "fail", ended["version"], None, _FAILED, why, ended.get("echo")
            ),
            ended.get("md5sum"),
            why if ended.get("reject") else None,
        )
