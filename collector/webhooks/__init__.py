"""Webhooks: a module for each vendor turns a raw request into events, without I/O; the routes check keys and publish."""
