import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["terminal", "page"])
def test_needs_no_pytorch_and_no_pillow(module):
    code = f"import sys, torchgraft.report.{module}; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
