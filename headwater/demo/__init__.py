"""The demo: a year of real flights through the whole pipeline, and questions about them."""
