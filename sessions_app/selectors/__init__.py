"""What pages read: frozen dataclasses, a constant number of queries each, no writes.

* ``people``: names for addresses.
* ``chrome``: the frame around every page (navigation counts, chain badge).
* ``tasks``: the list of tasks and the home pages.
* ``task_page``, ``task_now``, ``series``: one task.
* ``ledger``: blocks, transactions, addresses.
"""
