import subprocess
import sys

import pytest

from torchgraft.errors import MissingDependencyError
from torchgraft.finetuning import finetune, predict
from torchgraft.finetuning.requirements import require


def test_importing_brings_no_torch():
    code = "import sys, torchgraft.finetuning; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn", "scikit-learn"), ("accelerate", "accelerate"), ("PIL", "pillow")]
)
def test_absent_packages_are_named_with_the_command(monkeypatch, module, package, tiny, memory):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"needs {package}") as caught:
        finetune(tiny(), memory)
    assert caught.value.hint == "pip install 'torchgraft[train]'"


def test_predicting_needs_pillow_only(monkeypatch, tiny, memory):
    for module in ("sklearn", "accelerate", "torchvision"):
        monkeypatch.setitem(sys.modules, module, None)
    assert len(predict(tiny(), memory[0][:3])) == 3


def test_what_is_there_passes():
    require("torch", "PIL")
