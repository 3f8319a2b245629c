"""The start page: pick a stream, a person and a model; check, calibrate, run and replay.

All work is done by children, ``python -m bci VERB --json -``, so that nothing in this process can break a session.
"""
