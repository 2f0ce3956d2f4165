"""Files of the annotation: written atomically, one state for each annotator and case."""
