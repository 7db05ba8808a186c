#!/usr/bin/env python3
"""Reads the result tables with DuckDB, Polars and pyarrow, and compares with what the engine answers over HTTP.

    parquet.py URL TABLES

For every table that the engine serves whole: the number of rows that are left when all differences are summed, by each of the three,
and the sum of its first column of reals (or integers) as DuckDB and the engine have it. Each reader reads the files by itself.
"""

import json
import math
import pathlib
import sys
import urllib.request
from collections import Counter

import duckdb
import polars
import pyarrow
import pyarrow.parquet

# Of `au12` the newest quarter of an hour is served; `faces` is not.
NOT_SERVED_WHOLE = {"au12", "faces"}
# Rows that one answer may have.
MOST = 10000


def served(url, table):
    """All rows of a view."""
    with urllib.request.urlopen(f"{url}/api/v1/views/{table}?limit={MOST}") as answer:
        return json.load(answer)


def by_duckdb(files, number):
    rows = f"SELECT * EXCLUDE (_epoch, _diff), sum(_diff) AS copies FROM read_parquet({files}) GROUP BY ALL HAVING copies > 0"
    total = f'sum("{number}" * copies)' if number else "0"
    return duckdb.sql(f"SELECT coalesce(sum(copies), 0), {total} FROM ({rows})").fetchall()[0]


def by_polars(files):
    changes = polars.read_parquet(files)
    columns = [name for name in changes.columns if name not in ("_epoch", "_diff")]
    return int(changes.group_by(columns).agg(polars.col("_diff").sum())["_diff"].sum())


def by_pyarrow(files):
    copies = Counter()
    for file in files:
        for row in pyarrow.parquet.read_table(file).to_pylist():
            diff = row.pop("_diff")
            del row["_epoch"]
            copies[json.dumps(row, default=str, sort_keys=True)] += diff
    assert all(count >= 0 for count in copies.values()), "a row that went without having come"
    return sum(copies.values())


def main():
    url, folder = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2])
    tables = json.loads((folder / "manifest.json").read_text())["tables"]
    compared, faults = 0, []
    for table, entry in sorted(tables.items()):
        files = [str(folder / file["name"]) for file in entry["files"]]
        if not files or table in NOT_SERVED_WHOLE:
            continue
        rows = served(url, table)
        if len(rows) == MOST:
            continue
        schema = pyarrow.parquet.read_schema(files[0])
        numbers = [f.name for f in schema if pyarrow.types.is_floating(f.type) or pyarrow.types.is_integer(f.type)]
        number = next((name for name in numbers if name not in ("_epoch", "_diff", "id")), None)
        count, total = by_duckdb(files, number)
        answered = math.fsum(row[number] for row in rows if row[number] is not None) if number else 0
        counts = {"engine": len(rows), "DuckDB": int(count), "Polars": by_polars(files), "pyarrow": by_pyarrow(files)}
        if len(set(counts.values())) > 1:
            faults.append(f"{table}: {counts}")
        if not math.isclose(float(total or 0), answered, rel_tol=1e-9, abs_tol=1e-9):
            faults.append(f"{table}: sum of {number}: DuckDB {total}, engine {answered}")
        compared += 1
    if faults or compared < 10:
        raise SystemExit(f"parquet: {compared} tables compared\n  " + "\n  ".join(faults))
    print(f"parquet: {compared} tables are the same to DuckDB, Polars, pyarrow and the engine")


if __name__ == "__main__":
    main()
