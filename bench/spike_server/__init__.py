"""The spike behind ``docs/adr/0002-server.md``: which ASGI server. ``python -m bench.spike_server`` prints its table."""
