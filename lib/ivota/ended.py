"""What became of a trial, looked at once, at the start after it; then it leaves the heap."""

from micropython import const

from ivota import once

_FAILED = const(-5)


def begin(client):
    """Put what boot.py, or the boot loader, has ended into the outbox, as one write.

    Raises OSError when the flash fails.
    """
    if (client.state.trial or client.state.ended).get("slot"):
        once("image").begin(client)
    ended = client.state.ended
    if ended:
        why = ended["why"]
        if "died" in ended:
            died = ended["died"]
            why += ", " + (died[0] if isinstance(died, list) else died)  # in a list once counted
        once("outcome").post(
            client.state,
            client.dialect.report_progress(
                "fail", ended["version"], None, _FAILED, why, ended.get("echo")
            ),
            ended.get("md5sum"),
            why if ended.get("reject") else None,
        )
