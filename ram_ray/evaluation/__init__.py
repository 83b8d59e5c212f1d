"""How good a model's tags are, from a run's scores and labels of people."""
