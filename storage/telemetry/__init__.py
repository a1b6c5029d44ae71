"""Measures calls to the backends, with histograms that cost their callers next to nothing."""
