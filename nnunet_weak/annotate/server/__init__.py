"""The web server: who may ask, what may be asked, and the command to export."""
