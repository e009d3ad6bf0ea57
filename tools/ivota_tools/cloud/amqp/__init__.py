"""RabbitMQ as the fleet's broker, with several processes that take reports."""
