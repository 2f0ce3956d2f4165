"""A case as the page gets it: read in worker processes, measured for the queue, cut into views."""
