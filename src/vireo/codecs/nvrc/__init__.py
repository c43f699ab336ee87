"""NVRC: a segment of video as one network, every parameter of which is coded.

After “NVRC: Neural Video Representation Compression” (Kwan et al., NeurIPS 2024), whose network is
HiNeRV's (Kwan et al., NeurIPS 2023) with some changes.
"""
