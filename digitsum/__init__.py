"""digitsum: reads the sum of handwritten digits, and learns to from the sums alone."""

__version__ = "0.1.0"
