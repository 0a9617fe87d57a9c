"""A Ray cluster of two nodes with a CPU each, on this machine, until standard input ends; then the
commands that came on it, a JSON list of arguments a line, have run, each with its exit status on a
line of standard output. They begin when the cluster is there.
"""

import json
import os
import sys

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "RAY_USAGE_STATS_ENABLED": "0"}

import torch
from ray.cluster_utils import Cluster
from typer.testing import CliRunner

from spanetv2.cli.main import make_app


def main() -> None:
    """See above."""
    torch.set_num_threads(1)
    node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = cluster.address
        for line in sys.stdin:
            found = CliRunner().invoke(make_app(), json.loads(line))
            print(json.dumps([found.exit_code, found.stdout, found.stderr]), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
