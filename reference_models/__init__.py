"""Metis (arXiv 2502.03128) in PyTorch: masked generative models of speech tokens. Imports nothing of metis_bench."""
