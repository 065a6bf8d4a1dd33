"""Text to ECG, after DiffuSETS (arXiv 2501.05932): VAE, text encoder, event plan, denoiser and sampler."""
