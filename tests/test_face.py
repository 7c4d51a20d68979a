"""What `import prunelib` shows, and what it costs."""

import subprocess
import sys

import pytest

import prunelib


def test_the_modules_of_the_readme_are_there_when_they_are_asked_for():
    script = "import sys, prunelib; print('torch' in sys.modules, prunelib.masks.prune.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "prune"]
    assert set(prunelib.__all__) <= set(dir(prunelib))


def test_another_name_is_no_module():
    with pytest.raises(AttributeError, match="'prunelib' has no attribute 'mask'"):
        prunelib.mask  # noqa: B018
