"""The client as an asyncio task."""

import asyncio


async def serve(client):
    """Run the client as a task among others, until `exit()`."""
    while not client.exiting:
        await asyncio.sleep_ms(0 if client.step() else client.idle_ms())
    client.close()


async def beside(client, application, died):
    """Run the client beside an `async` application; `died(client, error)` hears of its end."""

    async def guarded():
        try:
            await application()
        except Exception as error:
            died(client, error)

    task = asyncio.create_task(guarded())
    await client.serve()
    task.cancel()
