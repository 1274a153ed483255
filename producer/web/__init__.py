"""The web page: drop pictures, see their labels, watch jobs, leaf through results.

A window on the desk and no more: what it submits goes the way of every job, what it shows is SQL.
"""
