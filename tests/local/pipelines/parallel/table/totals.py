"""Sums up the sales of a store."""

import argparse

import pandas as pd


def init():
    global unit
    parser = argparse.ArgumentParser()
    parser.add_argument("--unit")
    unit = parser.parse_known_args()[0].unit


def run(mini_batch, mini_batch_context):
    store = mini_batch_context.partition_key_value["store"]
    mini_batch["total"] = mini_batch["amount"].sum()
    return pd.DataFrame({"store": store, "total": mini_batch["total"], "unit": unit})
