"""A real browser on the holders' pages of a demo: `python -m tests.browser`."""
