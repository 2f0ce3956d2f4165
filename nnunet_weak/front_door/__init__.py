"""One command that lists the others and checks the installation."""
