"""Images and label maps on disk, through SimpleITK, checked. No torch here."""
