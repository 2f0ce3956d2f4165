"""Light feedback given in a browser: quality scores, rough drawings, surface points.

A server of the standard library on 127.0.0.1 serves one page to one annotator. What is written lies in
`FOLDER/annotation/` and is what the converters read.
"""
