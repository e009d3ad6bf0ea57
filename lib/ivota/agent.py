"""The turnkey agent: update client and application, until the board is to be restarted."""

import gc
import sys
import time

import machine
from micropython import const

from ivota import net, once
from ivota.errors import describe, line

_REST_S = const(10)  # before a client that died is started again

client = None  # the application's way to it: `from ivota import agent`, then `agent.client`


def run():
    """Run the client, and the application where a bundle brings one; restart when due."""
    global client
    # What comes to stay should lie close together: a small heap must not be cut into pieces.
    gc.threshold(1024)
    client, application = once("startup").start(log)
    try:
        if application is None:
            client.run()
        # In MicroPython an `async def` is a generator function.
        elif isinstance(application, type(_async)):
            import asyncio

            asyncio.run(once("tasks").beside(client, application, _died))
        else:
            dead = []
            once("runners").start(client, lambda: _ended(client, dead))
            try:
                application()
            except Exception as error:
                if not client.state.trial:
                    _died(client, error)
                else:  # the thread that has the state is to write it
                    dead.append(error)
                    client.exit()
            return
    # Whatever it is, a board that can be updated is better than one that shows it.
    except Exception as error:
        sys.print_exception(error)
    restart(client)


def log(level, event, **fields):
    """One line on the console."""
    print("ivota:", line(event, fields))


def restart(client):
    """Reset the board for a new version, and for a client that ended without being told to."""
    if client.restart or not client.exiting:
        log("info", "restart")
        if not client.restart and not client.state.trial:
            # What it died of may be there again: the board is not to do nothing but start.
            for _ in range(2 * _REST_S):
                net.feed()
                time.sleep_ms(500)
        machine.reset()


def _ended(client, dead):
    """The client's thread is over; `dead` has what the application died of in its trial."""
    if dead:
        _died(client, dead[0])
        machine.reset()
    restart(client)


def _async():
    yield


def _died(client, error):
    """The application ended with an error: its trial has failed; else updates go on without it."""
    sys.print_exception(error)
    log("error", "application_died", why=describe(error))
    if client.state.trial:
        once("state").died(client.state, error)
        machine.reset()
