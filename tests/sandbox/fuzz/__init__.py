"""Property tests of everything that reads what untrusted code wrote.

``COACHGYM_FUZZ_EXAMPLES=20000 pytest tests/sandbox/fuzz`` searches longer, and with new examples every time.
"""
