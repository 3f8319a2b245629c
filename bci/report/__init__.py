"""What came of a session: as text when it ends, and as a page and an object for later, made from its recording."""
