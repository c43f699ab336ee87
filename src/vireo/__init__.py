"""Vireo: compress video with learned codecs and play it back anywhere."""
