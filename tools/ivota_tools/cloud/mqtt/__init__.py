"""Everything between the cloud and MQTT: broker, sign-in, session, reports."""
