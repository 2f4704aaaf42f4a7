"""People: structures, persons, their boxes; who moves them up the two ladders, and what gates it.

Above storage and identity; no sockets. What is here runs inside a transaction of its caller: an
operation of administration, a bulk load, a door of the portal.
"""
