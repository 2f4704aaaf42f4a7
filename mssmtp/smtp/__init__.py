"""Meaning of SMTP without waiting: lines, DATA, parameters, trace headers, replies.

The doors of `smtp_in` own sockets, threads and clocks; this room gets octets and facts.
"""
