"""Quality scores and the initial masks they refer to: the intake of SCORE. No torch here."""
