"""The study (``benchmarks.learning --study``): the paper's claims, each as a comparison of training runs."""
