"""Past one machine: several Triton servers behind one client or a proxy, and the arithmetic of growing.

- :mod:`workshop.scale.endpoints`: a client of several Triton servers, which balances and fails over.
- :mod:`workshop.scale.fleet`: several servers on this machine.
- :mod:`workshop.scale.proxy`: nginx before them.
- :mod:`workshop.scale.rollout`: a new version of a model on all of them, or on none.
- :mod:`workshop.scale.object_store`: their models in an object store.
- :mod:`workshop.scale.embedding`: a collection embedded by Ray Data, resumable after any failure.
- :mod:`workshop.scale.layerwise`: GraphSAGE over the partitions of a graph, as Ray tasks, resumable likewise.
- :mod:`workshop.scale.products`: a product catalogue embedded so, and stored.
- :mod:`workshop.scale.simulator`: how many servers a load needs; :mod:`workshop.scale.measure` feeds and checks it.
- :mod:`workshop.scale.arithmetic`: sizes and hours, from a laptop to 100 million products.
"""
