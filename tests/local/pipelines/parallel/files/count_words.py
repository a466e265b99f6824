"""Counts a word in each file."""

import argparse
import os


def init():
    global word
    parser = argparse.ArgumentParser()
    parser.add_argument("--word")
    word = parser.parse_known_args()[0].word
    print("looking for", word)


def run(mini_batch):
    results = []
    for path in mini_batch:
        with open(path) as file:
            results.append(f"{os.path.basename(path)}: {file.read().split().count(word)}")
    return results
