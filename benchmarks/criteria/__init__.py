"""Does a clean signal meet the textbook? Measured without the simulator, from the signal alone."""
