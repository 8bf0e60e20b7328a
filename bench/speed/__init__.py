"""How fast is the server, against the database alone, an empty Flask view, and other queues?"""
