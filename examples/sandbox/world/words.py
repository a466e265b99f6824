"""The words of the world: who lives in it, what they own and where they go."""

NAMES = (
    *("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack"),
    *("Karin", "Leo", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor"),
)
THINGS = (
    *("apples", "pears", "plums", "books", "coins", "cards", "stamps", "shells"),
    *("marbles", "pencils", "eggs", "cakes", "roses", "stones", "candles", "buttons"),
)
HOLDERS = ("boxes", "bags", "baskets", "jars", "shelves", "rows")
PLACES = ("market", "school", "library", "harbour", "garden", "station", "bakery", "park")
SPOTS = ("kitchen", "cellar", "attic", "hall", "garage", "bedroom")
OBJECTS = ("lamp", "clock", "hat", "kite", "drum", "key", "map", "bell")
COLOURS = ("red", "blue", "green", "white", "black", "yellow")
ANIMALS = ("cat", "dog", "horse", "goat", "duck", "rabbit")
WEATHER = ("sunny", "rainy", "windy", "cold", "warm", "foggy")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

LARGEST_NUMBER = 120
"""Numbers up to here are one token each, as three-digit numbers are in the tokenizers of large models."""
