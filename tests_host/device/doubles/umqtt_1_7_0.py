"""Stands for umqtt.simple 1.7.0, frozen into MicroPython 1.27 and 1.28."""

import socket  # noqa: F401

from doubles import umqtt_common

MQTTException = umqtt_common.MQTTException
MQTTClient = umqtt_common.make(globals(), (1, 7))
