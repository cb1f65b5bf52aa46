"""Past one machine: several Triton servers behind one client or a proxy, and the arithmetic of growing.

- :mod:`workshop.scale.endpoints`: a client of several Triton servers, which balances and fails over.
"""
