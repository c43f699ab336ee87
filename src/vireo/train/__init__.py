"""Training of pretrained codecs: data, the loop, checkpoints. Needs neither PyAV nor the core."""
