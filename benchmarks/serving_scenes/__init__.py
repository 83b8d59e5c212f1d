"""The scenes of benchmarks/serving.py, one file per kind of trouble."""
