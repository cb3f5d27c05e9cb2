"""What pages read: frozen dataclasses, a constant number of queries each, no writes.

* ``chrome``: the frame around every page (navigation counts, chain badge).
* ``tasks``, ``compare``, ``health``: pages about many things.
* ``task``: the page of one task. ``wizard``: what stands before it. ``models``: what it leaves.
* ``people``: who takes part, what they earned, names for addresses.
* ``ledger``: blocks, transactions, addresses.
"""
