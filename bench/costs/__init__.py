"""What does each request cost, where, and in how many statements?"""
