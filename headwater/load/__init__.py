"""Files of events: NDJSON and CSV, read line by line, sent so that a second attempt doubles nothing."""
