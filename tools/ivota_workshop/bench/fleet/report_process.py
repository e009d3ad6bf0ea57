"""One process that stores reports from memory, as `intake.py` and `campaign_start.py` start it.

Arguments: URL, first device, devices, batches (0: until its input ends), reports in a batch, and
a wait in each transaction in seconds. It says "ready", waits for a line, and then prints the
seconds of each batch.
"""

from __future__ import annotations

import json
import select
import sys
import time
from itertools import count

from ivota_tools.cloud import BackOff
from ivota_tools.cloud.mqtt.cloud_session import Message
from ivota_tools.cloud.mqtt.report_ingestion import take_in
from ivota_tools.cloud.store.database import Database

from .filled_database import PRODUCT

REST_S = 0.02  # between two batches of a process that runs until its input ends


def main(url: str, first: int, devices: int, batches: int, size: int, wait_s: float) -> None:
    database = Database(url)
    back_off = BackOff()
    names = (f"d-{first + number % devices}" for number in count())
    payload = json.dumps({"type": "report_version", "report": {"version": "0.3"}}).encode()

    def batch() -> list[Message]:
        topics = (f"$ota/report/{PRODUCT}/{next(names)}" for _ in range(size))
        return [
            Message(topic, payload, 1, False, number, 1) for number, topic in enumerate(topics)
        ]

    def store(messages: list[Message]) -> float:
        began = time.perf_counter()
        with database.storing() as session:
            take_in(session, messages, time.time(), back_off)
            session.flush()
            time.sleep(wait_s)
        return time.perf_counter() - began

    store(batch())  # what only the first one costs
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(batches) if batches else count():
        print(f"{store(batch()):.4f}", flush=True)
        if not batches:
            if select.select([sys.stdin], [], [], REST_S)[0]:
                break
    database.close()


if __name__ == "__main__":
    first, devices, batches, size = map(int, sys.argv[2:6])
    main(sys.argv[1], first, devices, batches, size, float(sys.argv[6]))
