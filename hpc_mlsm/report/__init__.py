"""The HTML report of a run, and the picture that the README shows of one."""
