"""DiagECG-lite (arXiv 2508.15338): the ECG as tokens of the language model, forecast and then asked about."""
