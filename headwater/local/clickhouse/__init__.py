"""An embedded ClickHouse: the chDB engine behind ClickHouse's HTTP interface, for one machine. Not a production server."""
