"""The record: tables, transactions, and every SQL statement. SQL is the truth; Redis only wakes workers."""
