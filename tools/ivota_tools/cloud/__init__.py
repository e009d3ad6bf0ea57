"""The cloud: MQTT broker, HTTP server, rollouts and the console."""

from .cloud_error import CloudError
from .process_kind import ProcessKind
from .rollout.assignment_states import BackOff
from .service import Cloud
from .tls_certificate import Certificate

__all__ = ["BackOff", "Certificate", "Cloud", "CloudError", "ProcessKind"]
