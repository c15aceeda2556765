"""The collector: events over HTTP into the raw topic, answered when Kafka has them."""
