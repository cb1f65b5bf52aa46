"""Load tests of a model server.

- :mod:`workshop.loadtest.senders`: ready-made requests over gRPC or HTTP, sent as cheaply as Python can.
- :mod:`workshop.loadtest.generator`: closed loop and open loop, latency as users feel it.
- :mod:`workshop.loadtest.tuning`: the same load at several served configurations, and which to take.
"""
