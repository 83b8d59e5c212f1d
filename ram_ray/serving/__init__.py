"""The HTTP door: an API, and the models behind it on Ray Serve."""
