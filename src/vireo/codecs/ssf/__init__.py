"""Scale-space flow (InstA, section 3.1; Agustsson et al., 2020)."""
