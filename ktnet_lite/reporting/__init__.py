"""Tables, comparisons and pictures, from result files alone."""
