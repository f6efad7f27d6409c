"""The script for SLURM: what it asks SLURM for, and a whole run of it with a stand-in for sbatch."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from test_sweep import GRID

SCRIPT = Path(__file__).resolve().parents[1] / "notebooks" / "experiments" / "slurm.py"
SBATCH = """\
#!/bin/sh
cp "$1" "$0.script"
(sh "$0.script" >"$0.log" 2>&1 &)
echo Submitted batch job 7
"""


def test_a_job_asks_for_what_the_options_say_and_trains_one_run_at_a_time():
    start = runpy.run_path(str(SCRIPT))["start"]
    with start("long", 90, "8GB", 6, gpu=True) as cluster:
        script = cluster.job_script()
    for directive in ("-p long", "-t 90", "--mem=8G", "--cpus-per-task=6", "--gres=gpu:1"):
        assert f"#SBATCH {directive}\n" in script
    assert "export OMP_NUM_THREADS=6\n" in script
    assert "--nthreads 1 " in script and script.rstrip().endswith("--lifetime 85m")
    with start(None, 90, "8GB", 6, gpu=False) as cluster:
        assert "gres" not in cluster.job_script() and "#SBATCH -p" not in cluster.job_script()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
@pytest.mark.process
def test_the_script_trains_on_the_worker_that_it_submits(tmp_path):
    grid = GRID.replace("  Full: {variant: full}\n  Ours: {variant: ours}", "  Floor: {model: constant}")
    (tmp_path / "floor.yaml").write_text(grid[: grid.index("compare:")], encoding="utf-8")
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, SCRIPT, tmp_path / "floor.yaml", "--workers", "1", "--seeds", "1", "--out"]
    quiet = {"capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([*command, tmp_path / "runs"], env=os.environ | path, **quiet)
    assert done.returncode == 0, done.stderr
    assert "1 runs on" in done.stdout
    assert "#SBATCH -t 240" in (tmp_path / "sbatch.script").read_text(encoding="utf-8")
    assert list((tmp_path / "runs").glob("*/constant-*/result.json"))
