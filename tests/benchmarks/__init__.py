"""The benchmarks start, and notice what would make their figures wrong."""
