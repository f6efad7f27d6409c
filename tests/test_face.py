"""The public face: what `import ktnet_lite as kt` offers, what it costs, and README's lines run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ktnet_lite as kt

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_readmes_lines_train_drop_the_audio_and_predict(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 1 and len(blocks[0].strip().splitlines()) == 10
    namespace = {}
    exec(blocks[0], namespace)
    *clips, error = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in clips] == ["test_0", "test_1", "test_2"]
    assert "audio" not in namespace["test"].streams and "audio" in namespace["dataset"]["test"].streams
    scores, targets = namespace["scores"], namespace["test"].targets
    assert float(error.split()[1]) == pytest.approx(abs(scores - targets).mean(), abs=1e-5)
    assert error.startswith("MAE ") and scores.std() > 0


def test_every_name_is_there_and_documented():
    assert sorted(kt.__all__) == kt.__all__ and set(kt.__all__) <= set(dir(kt))
    for name in kt.__all__:
        assert getattr(kt, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        kt.fitt  # noqa: B018
    assert (Path(kt.__file__).parent / "py.typed").is_file()


@pytest.mark.process
def test_importing_the_package_loads_nothing_else():
    code = "import sys; before = set(sys.modules); import ktnet_lite; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "scipy", "pandas", "h5py", "click", "yaml", "sklearn"}
    assert not heavy & {name.partition(".")[0] for name in done.stdout.split()}
