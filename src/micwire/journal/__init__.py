"""Durable logs. Each is fit if it passes `micwire.testing.JournalContract`."""
