"""Words everyone shares: error codes, types, settings, model specs. Imports nothing else of ours."""
