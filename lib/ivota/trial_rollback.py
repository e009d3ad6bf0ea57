"""Roll back a trial: the previous version runs from the next start on."""

from ivota import once


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
    roll_back(client.state, "the trial was not confirmed in time: " + why)
    client.restart = True
    client.exit()


def roll_back(state, why, reject=False):
    """Select `previous` for the next start; that version then reports the reason."""
    state.ended = dict(state.trial)
    state.ended["why"] = why
    if reject:
        state.ended["reject"] = True
    state.active, state.previous, state.trial = state.previous, None, None
    once("state").save(state)
