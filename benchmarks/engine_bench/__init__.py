"""The benchmark of the data engine: features, models, arms and measures."""
