"""The data engine: noisy captions in, clean labels out, every decision with its evidence."""
