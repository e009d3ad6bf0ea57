"""One process that stores the reports of RabbitMQ's queues, as a server of the cloud does.

Arguments: URL of the database, address of RabbitMQ; its password is in IVOTA_BROKER_PASSWORD. It
says "ready" once it reads the queues, and ends with its input.
"""

from __future__ import annotations

import os
import sys

from ivota_tools.cloud import BackOff
from ivota_tools.cloud.amqp.address import AmqpAddress
from ivota_tools.cloud.amqp.report_session import ReportSession
from ivota_tools.cloud.downloads.signed_urls import DownloadUrl
from ivota_tools.cloud.mqtt.report_worker import Intake
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Firmware


def main(url: str, broker: str) -> None:
    database = Database(url)
    intake = Intake(database, _no_push, BackOff(), 1, sys.exit)
    address = AmqpAddress.read(broker).with_password(os.environ["IVOTA_BROKER_PASSWORD"])
    session = ReportSession(address, "ivota-bench", intake.put)
    intake.start(session)
    session.start(120.0)
    print("ready", flush=True)
    sys.stdin.read()
    intake.stop()
    session.stop()
    database.close()


def _no_push(firmware: Firmware, attempt: int) -> DownloadUrl:
    raise RuntimeError("another process sends the pushes")


if __name__ == "__main__":
    main(*sys.argv[1:3])
