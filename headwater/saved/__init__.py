"""Questions that are kept: saved queries and datasets, their definitions in the control plane and their results in ClickHouse."""
