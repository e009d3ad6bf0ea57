"""Show the fleet in Home Assistant, through MQTT discovery on the broker that both use."""
