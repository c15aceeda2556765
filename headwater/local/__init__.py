"""The local stack: a real Apache Kafka and an embedded ClickHouse engine, and the supervisor that runs them with the services."""
