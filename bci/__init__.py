"""rolandic: a real-time brain-computer interface over the Lab Streaming Layer."""

__version__ = "0.1.0"
