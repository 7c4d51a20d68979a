"""Methods that came after the paper: do they answer its question?

Each is a function with its source. `densities` draws masks at random within layers, `paths` along
walks, `gradients` scores weights by gradients. To import this package is to register them.
"""

from prunelib.later import densities, gradients, paths

__all__ = ["densities", "gradients", "paths"]
