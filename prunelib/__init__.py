"""A companion to "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?"."""

__version__ = "0.1.0"
