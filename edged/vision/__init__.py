"""Numbers only: NumPy and OpenCV, no I/O, no clock."""
