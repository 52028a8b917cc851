"""Carry a browser's microphone to a server and keep every sample as WAV."""
