"""The application's end by an error; the client does not end with it."""

import sys

from ivota import describe, once


def died(client, error):
    """Its trial has failed, and the board is reset; without a trial updates go on without it."""
    sys.print_exception(error)
    client.log("error", "application_died", why=describe(error))
    if client.state.trial:
        import machine

        once("state_writer").died(client.state, error)
        machine.reset()
