"""Spectral cubes a plane at a time: what is done to them in no more memory than a few planes.

Arrays in, arrays out; files are read and written by `casarun.casa.cube_file` and
`casarun.casa.cube_image`. A plane is float32 of shape (n_y, n_x), NaN where it is masked.
"""
