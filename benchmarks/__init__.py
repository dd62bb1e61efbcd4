"""Each published speed has its command here."""
