"""A real Thunderbird against the demo, used as a person uses it: `python -m tests.thunderbird`."""
