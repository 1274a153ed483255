"""The machine room: fetch, decode, batch, predict, record."""
