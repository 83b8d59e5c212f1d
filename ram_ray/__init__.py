"""ram-ray: the Recognize Anything Model family as a distributed system on Ray.

Importing this package costs nothing: ray, torch and the stores load where they are used.
"""

__version__ = "0.1.0"
