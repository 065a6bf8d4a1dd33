"""Text to ECG, after DiffuSETS (arXiv 2501.05932): VAE, text encoder, beat plan, denoiser and sampler."""
