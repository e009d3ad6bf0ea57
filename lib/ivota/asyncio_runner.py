"""Run the client as an asyncio task."""

import asyncio

from ivota import once


async def serve(client):
    """Run the client beside other tasks until `exit()`."""
    while not client.exiting:
        await asyncio.sleep_ms(0 if client.step() else client.next_step_ms())
    client.close()


async def beside(client, application):
    """Run the client beside an `async` application."""

    async def guarded():
        try:
            await application()
        except Exception as error:
            once("app_crash").died(client, error)

    task = asyncio.create_task(guarded())
    await client.serve()
    task.cancel()
