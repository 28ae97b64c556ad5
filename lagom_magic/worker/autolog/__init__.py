"""Logs what well-known libraries train inside the training function, through their own callbacks.

Used by the trial process: `autolog.applied` around the call of the function. One module a library, imported when
that library is.
"""
