"""Weights, devices, diffusers and transformers: the only place that knows them."""
