"""The MQTT side of the cloud: broker, sign-in, session and reports."""
