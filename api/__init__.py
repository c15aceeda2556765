"""The API: questions over HTTP, answered in Keen's shapes."""
