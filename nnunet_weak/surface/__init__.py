"""Geometry of surfaces: fitted to points, rasterised, written as meshes; world is LPS in mm. No torch here."""
