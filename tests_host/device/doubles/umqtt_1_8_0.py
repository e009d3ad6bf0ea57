"""Stands for umqtt.simple 1.8.0, frozen into MicroPython 1.29."""

import socket  # noqa: F401

from doubles import umqtt_common

MQTTException = umqtt_common.MQTTException
MQTTClient = umqtt_common.make(globals(), (1, 8))
