"""What a report says: numbers and verdicts, from what lies in a session's folder."""
