"""What is hot, measured: messages per second, CPU per message, spread. Never a timed test.

./run demo is not needed: each benchmark starts its own trust space on loopback.
python -m bench.acceptance        durable acceptance over TLS with a client certificate
python -m bench.fetch_headers     FETCH of headers on a 10,000-message mailbox
"""
