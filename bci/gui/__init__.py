"""The window: a process of its own that reads a session over LSL and asks things of it over the control socket.

It owns nothing that the session needs: kill it, and the session goes on.
"""
