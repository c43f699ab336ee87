"""What the networks of several codecs share: priors, quantisers for training, warps."""
