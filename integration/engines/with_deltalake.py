"""deltalake: delta-rs. It finds the store in the environment."""

from deltalake import DeltaTable


def rows(url):
    return DeltaTable(url).to_pyarrow_table()


def partitions(url):
    columns = ["topic", "partition", "timestampType", "offset"]
    table = DeltaTable(url).to_pyarrow_table(columns=columns)
    groups = table.group_by(columns[:3]).aggregate(
        [("offset", "count"), ("offset", "min"), ("offset", "max"), ("offset", "sum")])
    names = columns[:3] + ["offset_count", "offset_min", "offset_max", "offset_sum"]
    return zip(*(groups.column(name).to_pylist() for name in names))
