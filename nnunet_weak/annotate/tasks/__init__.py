"""What is asked of an annotator: scores, drawings or points; and how far raters agree."""
