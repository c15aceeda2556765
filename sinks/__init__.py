"""Sink: the topics of collections -> ClickHouse, one table per collection. The front door is `sinks.app`."""
