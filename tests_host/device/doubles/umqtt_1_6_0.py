"""Stands for umqtt.simple 1.6.0, frozen into MicroPython 1.25 and 1.26."""

import socket  # noqa: F401

from doubles import umqtt_common

MQTTException = umqtt_common.MQTTException
MQTTClient = umqtt_common.make(globals(), (1, 6))
