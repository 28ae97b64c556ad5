"""Wheel and sdist: what is in them, what building them needs, and that Jupyter finds what a wheel installs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import lagom_magic

ROOT = Path(__file__).resolve().parent.parent
LABEXTENSION = "share/jupyter/labextensions/lagom-magic"
SERVER_CONFIG = "etc/jupyter/jupyter_server_config.d/lagom_magic.json"
WIDGET = {"lagom_magic/display/static/widget.js", "lagom_magic/display/static/widget.css"}
OUTPUT = {*WIDGET, "lagom_magic/labextension/package.json"}
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
#: Builds with what the tests' environment has, and without a network.
FROM_HERE = ["--no-deps", "--no-index", "--no-build-isolation"]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment that sees the packages of the tests' one, but not what is editable there."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Environment:
        venv.create(folder, with_pip=False, symlinks=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (folder / "lib" / version / "site-packages" / "packages.pth").write_text("\n".join(sorted(packages)) + "\n")
        return cls(folder)

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def install(self, *arguments: str) -> list[str]:
        """The command that installs our package into it, whichever one it sees already."""
        return [*PIP, "--python", self.python, "install", *FROM_HERE, "--ignore-installed", *arguments]

    def says(self, *arguments: str) -> str:
        """What its Python prints, on both streams, in a place without node and without settings of a user."""
        return without_node([self.python, *arguments], self.folder)


def without_node(command: list[str], folder: Path, *, exit_code: int = 0) -> str:
    """What `command` prints in `folder`, where PATH leads nowhere."""
    variables = {"PATH": str(folder / "nowhere"), "HOME": str(folder), "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(command, check=False, cwd=folder, env=variables, text=True, capture_output=True, timeout=100)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout + done.stderr


def built(target: str, folder: Path) -> Path:
    """The `target` ("sdist" or "wheel") of this checkout, as `make dist` builds it."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by pip from the sdist, without node."""
    folder = tmp_path_factory.mktemp("wheel")
    without_node([*PIP, "wheel", *FROM_HERE, "--wheel-dir", str(folder), str(sdist)], folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment.create(tmp_path_factory.mktemp("installed"))
    without_node(environment.install(str(wheel)), environment.folder)
    return environment


@pytest.fixture
def unbuilt(sdist: Path, tmp_path: Path) -> Path:
    """A checkout in which nobody has built the front end."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (checkout,) = tmp_path.iterdir()
    shutil.rmtree(checkout / "lagom_magic" / "labextension")
    shutil.rmtree(checkout / "lagom_magic" / "display" / "static")
    return checkout


def files_in(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def contents_of(wheel: Path) -> dict[str, int]:
    """{path: checksum}, data files as they are installed."""
    with zipfile.ZipFile(wheel) as archive:
        return {re.sub(r"^[^/]+\.data/data/", "", entry.filename): entry.CRC for entry in archive.infolist()}


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_python_and_the_front_end_have_one_version() -> None:
    assert json.loads((ROOT / "package.json").read_text())["version"] == lagom_magic.__version__


@pytest.mark.parametrize("name", ["yarn.lock", ".yarnrc.yml", "package.json"])
def test_what_yarn_reads_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "npmRegistryServer" not in text


def test_the_sdist_holds_the_built_front_end_and_what_it_is_built_from(sdist: Path) -> None:
    source = {"package.json", "yarn.lock", ".yarnrc.yml", "scripts/hatch_build.py", "labextension/tsconfig.json"}
    source |= {str(path.relative_to(ROOT)) for path in (ROOT / "labextension" / "src").rglob("*.ts*")}
    assert OUTPUT | source <= files_in(sdist)


def test_the_sdist_holds_nothing_that_a_build_or_a_test_left(sdist: Path) -> None:
    left = re.compile(
        r"(^|/)(node_modules|\.venv|\.yarn|\.cache|__pycache__|lib|demo_output|\.git)(/|$)|\.tsbuildinfo$"
    )
    assert [name for name in files_in(sdist) if left.search(name)] == []


def test_the_wheel_holds_widget_labextension_and_server_config(wheel: Path) -> None:
    contents = contents_of(wheel)
    assert {*WIDGET, SERVER_CONFIG, f"{LABEXTENSION}/package.json", f"{LABEXTENSION}/install.json"} <= contents.keys()
    assert [name for name in contents if re.match(r"labextension/|tests/|scripts/", name)] == []
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(f"data/{LABEXTENSION}/package.json"))
        package = json.loads(archive.read(path))
    assert package["version"] == lagom_magic.__version__
    assert f"{LABEXTENSION}/{package['jupyterlab']['_build']['load']}" in contents


def test_a_wheel_from_the_checkout_is_the_one_from_the_sdist(wheel: Path, tmp_path: Path) -> None:
    assert contents_of(built("wheel", tmp_path)) == contents_of(wheel)


def test_a_build_without_output_and_without_node_says_what_to_do(unbuilt: Path) -> None:
    said = without_node([*PIP, "wheel", *FROM_HERE, "."], unbuilt, exit_code=1)
    assert "is not built here, and there is no node on PATH; install node >= 20, or run `make ui`" in said
    assert "Traceback" not in said


def test_an_editable_install_needs_neither_output_nor_node(unbuilt: Path, tmp_path: Path) -> None:
    environment = Environment.create(tmp_path / "environment")
    without_node(environment.install("--editable", "."), unbuilt)
    assert environment.says("-c", "import lagom_magic; print(lagom_magic.__file__)").strip().startswith(str(unbuilt))
    assert (environment.folder / SERVER_CONFIG).is_file()
    assert not (environment.folder / LABEXTENSION).exists()


def test_an_editable_install_leaves_building_alone_where_node_is(unbuilt: Path, tmp_path: Path) -> None:
    environment = Environment.create(tmp_path / "environment")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("node", "jlpm"):  # each leaves a trace when something calls it
        (programs / name).write_text(f"#!/bin/sh\necho called > {tmp_path / 'called'}\n")
        (programs / name).chmod(0o755)
    variables = {"PATH": str(programs), "HOME": str(tmp_path)}
    install = environment.install("--editable", ".")
    subprocess.run(install, cwd=unbuilt, env=variables, check=True, capture_output=True, timeout=100)
    assert not (tmp_path / "called").exists()


def test_an_installed_wheel_is_used_and_has_its_widget(installed: Environment) -> None:
    script = "import lagom_magic.display.widget as widget; print(widget.is_built(), widget.__file__)"
    is_built, path = installed.says("-c", script).split()
    assert is_built == "True"
    assert path.startswith(str(installed.folder))


def test_jupyterlab_finds_the_labextension_of_an_installed_wheel(installed: Environment) -> None:
    said = without_colours(installed.says("-m", "jupyterlab.labextensions", "list"))
    assert re.search(rf"lagom-magic v{re.escape(lagom_magic.__version__)} enabled OK \(python, lagom-magic\)", said), (
        said
    )


def test_a_jupyter_server_finds_the_extension_of_an_installed_wheel(installed: Environment) -> None:
    said = without_colours(installed.says("-m", "jupyter_server.extension.serverextension", "list"))
    assert re.search(r"lagom_magic enabled\n", said), said
    assert re.search(rf"lagom_magic {re.escape(lagom_magic.__version__)} OK", said), said
