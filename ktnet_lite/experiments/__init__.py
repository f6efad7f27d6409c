"""Many training runs: grids, the papermill notebook, result files, sweeps and run-time estimates."""
