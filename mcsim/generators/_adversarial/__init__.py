"""Adversaries: the GAN and the Wasserstein GAN."""
