"""Engines: a network in memory that scores batches of pixels. Start reading at `choose`."""
