"""The Python client: events in, answers out. `headwater.connect()` makes one."""
