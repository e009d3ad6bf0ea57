"""The cloud's side of the protocol: broker, HTTP and the console's engine."""

from .cloud_error import CloudError
from .rollout.assignment_rules import BackOff
from .service import Cloud
from .tls_certificate import Certificate

__all__ = ["BackOff", "Certificate", "Cloud", "CloudError"]
