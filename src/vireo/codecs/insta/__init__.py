"""Instance adaptation: a pretrained codec, fine-tuned on the video that it sends (InstA)."""
