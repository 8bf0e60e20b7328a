"""The rules of the queue: plain functions on a transaction; one file for each verb, one for each noun."""
