"""Functions that run on the board: measurements at its prompt."""

from typing import Any


def prompt() -> dict[str, Any]:
    """Return the free heap, the cause of the last reset, and the features that the board has."""
    import gc
    import sys

    gc.collect()
    found: dict[str, Any] = {"heap_free": gc.mem_free(), "heap_used": gc.mem_alloc()}  # type: ignore[attr-defined]
    try:
        machine: Any = __import__("machine")
        cause = machine.reset_cause()
        names = [
            name
            for name in dir(machine)
            if name.endswith("_RESET") and getattr(machine, name) == cause
        ]
        found["reset_cause"] = str(cause) + "".join(" " + name for name in names[:1])
        found["watchdog"] = hasattr(machine, "WDT")
    except (ImportError, AttributeError):
        found["reset_cause"] = None
        found["watchdog"] = False
    try:
        network: Any = __import__("network")
        found["interfaces"] = [
            name for name in ("WLAN", "LAN", "PPP", "WIZNET5K") if hasattr(network, name)
        ]
    except ImportError:
        found["interfaces"] = None
    try:
        __import__("socket")
        found["sockets"] = True
    except ImportError:
        found["sockets"] = False
    found["platform"] = sys.platform
    try:
        partition: Any = __import__("esp32").Partition
        running = partition(partition.RUNNING)
        next_one = running.get_next_update()
        found["running"] = running.info()[4]
        found["slot"] = next_one.info()[4] if next_one.info()[4] != found["running"] else None
    except (ImportError, AttributeError, OSError):
        found["slot"] = None
    return found


def deepest() -> dict[str, Any]:
    """Return how many nested calls fit on the stack, and the bytes if the port reports them."""
    use = getattr(__import__("micropython"), "stack_use", lambda: None)

    def call(depth: int) -> list[Any]:
        try:
            return call(depth + 1)
        except RuntimeError:
            return [depth, use()]

    depth, size = call(0)
    return {"calls": depth, "bytes": size, "bytes_at_prompt": use()}


def write_blocks(path: str, count: int) -> dict[str, Any]:
    """Measure `count` durable writes of blocks of 4096 bytes to a file, in µs."""
    import os
    import time

    block = bytearray(4096)
    total = worst = 0
    with open(path, "wb") as file:
        for number in range(count):
            block[0] = number
            begun = time.ticks_us()  # type: ignore[attr-defined]
            file.write(block)
            file.flush()
            took = time.ticks_diff(time.ticks_us(), begun)  # type: ignore[attr-defined]
            total += took
            worst = max(worst, took)
    os.remove(path)
    return {"blocks": count, "mean_us": total // count, "worst_us": worst}


def erase_blocks(count: int) -> dict[str, Any] | None:
    """Measure erases of 4096 bytes of the inactive slot, in µs; None without a slot."""
    import time

    try:
        partition: Any = __import__("esp32").Partition
        running = partition(partition.RUNNING)
        slot = running.get_next_update()
        if slot.info()[4] == running.info()[4]:
            return None
    except (ImportError, AttributeError, OSError):
        return None
    count = min(count, slot.info()[3] // 4096)
    total = worst = 0
    for number in range(count):
        begun = time.ticks_us()  # type: ignore[attr-defined]
        slot.ioctl(6, number)
        took = time.ticks_diff(time.ticks_us(), begun)  # type: ignore[attr-defined]
        total += took
        worst = max(worst, took)
    return {"blocks": count, "mean_us": total // count, "worst_us": worst}


def loops_alone(window_ms: int) -> int:
    """Return how often the test application's loop runs in `window_ms` with nothing beside it."""
    import asyncio
    import time

    async def main() -> int:
        loops = 0
        begun = time.ticks_ms()  # type: ignore[attr-defined]
        while time.ticks_diff(time.ticks_ms(), begun) < window_ms:  # type: ignore[attr-defined]
            for _ in range(50):
                pass
            loops += 1
            await asyncio.sleep_ms(0)  # type: ignore[attr-defined]
        return loops

    return asyncio.run(main())


def text_of(path: str) -> str:
    """Return a file's text, empty if it does not exist."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def print_partition(label: str, first: int, count: int) -> int:
    """Print blocks of 4096 bytes of an application's partition, one line of base64 each."""
    import binascii

    partition: Any = __import__("esp32").Partition
    found = partition.find(partition.TYPE_APP, label=label)[0]
    buffer = bytearray(4096)
    for number in range(first, first + count):
        found.readblocks(number, buffer)
        print(binascii.b2a_base64(buffer).decode().strip())
    return count


def choose_slot(label: str) -> bool:
    """Make the boot loader start that partition."""
    partition: Any = __import__("esp32").Partition
    partition.find(partition.TYPE_APP, label=label)[0].set_boot()
    return True


def keep_slot() -> bool:
    """Mark the running image as valid, if the boot loader can roll back."""
    try:
        __import__("esp32").Partition.mark_app_valid_cancel_rollback()
        return True
    except OSError:
        return False
