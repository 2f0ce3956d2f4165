"""Points in and out, the surface through them, and its mask: the template of Weak-Net. World coordinates are LPS mm.

No torch here.
"""
