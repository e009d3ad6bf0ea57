"""What a process of the cloud does: everything, or a part that several processes share.

devices ─MQTT─► RabbitMQ ─► intake, intake, … ─► PostgreSQL ◄─ console, console, … ◄─HTTP
                            (one of them leads)
"""

from __future__ import annotations

import enum

from .cloud_error import CloudError


class ProcessKind(str, enum.Enum):
    """CLOUD does everything. INTAKE stores reports, and can lead: the leader alone sends pushes
    and runs campaigns. CONSOLE serves the API, the pages and downloads, and keeps nothing.
    """

    CLOUD = "cloud"
    INTAKE = "intake"
    CONSOLE = "console"

    @property
    def takes_reports(self) -> bool:
        return self is not ProcessKind.CONSOLE

    @property
    def serves_people(self) -> bool:
        return self is not ProcessKind.INTAKE

    def check(
        self, *, database: str | None, broker: str | None, rabbitmq: bool, public_url: str | None
    ) -> None:
        """Raise CloudError if a process of this kind lacks a setting."""
        if self is ProcessKind.CLOUD:
            return
        if database is None:
            raise CloudError(
                f"ivota {self.value} needs --database postgresql://…, which all processes share; "
                "on one machine, ivota cloud does everything"
            )
        if self is ProcessKind.INTAKE and not rabbitmq:
            raise CloudError("ivota intake needs --broker amqp://…, which distributes the reports")
        if broker is None:
            raise CloudError("ivota console needs the same --broker as the other processes")
        if public_url is None:
            raise CloudError(
                f"ivota {self.value} needs --public-url, the URL at which devices reach the "
                "consoles"
            )
