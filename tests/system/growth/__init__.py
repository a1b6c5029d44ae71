"""What is asked for decides the cost: counts at two sizes of the same store, as the benchmark's."""
