"""What reproduces the papers' tables; the method can be read without it."""
