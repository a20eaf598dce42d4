"""What kinds.py is made of: strokes of several hands, canvases with paper, light and a camera, and the kinds."""
