"""Deep hierarchical video compression, version 2.0 (Lu et al.): four scales, no motion."""
