"""Points on surfaces: their files, and the templates fitted to them: the intake of Weak-Net. No torch here."""
