"""Training the family on Ray: `ram_ray.training.pipeline.train` shows the steps in order."""
