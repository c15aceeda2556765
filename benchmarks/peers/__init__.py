"""What the processor and the sink are compared with: `python -m benchmarks.peers.<name> TOPIC`, each a process of its own.

Those of the processor read the same raw topic, run the same functions on each record (`work`) and write into TOPIC. They
keep no aggregates and no catalogue, and survive less than the processor does. bytewax_flow and quix_app run in the
environment that `environment` makes, so nothing here may import what that has not.
"""
