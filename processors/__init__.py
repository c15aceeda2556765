"""Processors: raw topic -> enrichment -> the topics of collections, and rolling aggregates in tables."""
