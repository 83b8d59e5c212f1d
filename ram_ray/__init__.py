"""ram-ray: the Recognize Anything Model family as a distributed system on Ray.

Importing this package costs nothing: Ray, torch and the stores are imported by the modules that use them.
"""

__version__ = "0.1.0"
