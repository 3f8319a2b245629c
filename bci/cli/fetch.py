"""``bci fetch``: real recordings from the internet, by MNE's fetchers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click

from bci.cli.common import SeveralValues, emit, output_options, progress
from bci.errors import ConfigError, SourceError

EEGBCI_URL = "https://physionet.org/files/eegmmidb/1.0.0/"


@click.group()
def command() -> None:
    """Get real recordings from the internet."""


@command.command(cls=SeveralValues)
@click.option("--subject", "subjects", type=click.IntRange(1, 109), multiple=True, required=True, metavar="N ...",
              help="People, 1 to 109.")  # fmt: skip
@click.option("--run", "runs", type=click.IntRange(1, 14), multiple=True, default=(4, 8, 12), show_default=True,
              metavar="N ...", help="Runs; 4, 8 and 12 are left against right fist, imagined.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False), metavar="DIR", help="Where to (default: MNE's data folder).")
@click.option("--url", default=EEGBCI_URL, show_default=True, help="Another server that mirrors this folder.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), default=15.0, show_default=True,
              metavar="S", help="How long the server may be silent, at each of three tries.")  # fmt: skip
@output_options
def eegbci(
    subjects: tuple[int, ...],
    runs: tuple[int, ...],
    out: str | None,
    url: str,
    timeout_s: float,
    json_path: str | None,
    quiet: bool,
) -> None:
    """Motor imagery of 109 people, 64 channels at 160 Hz (PhysioNet eegmmidb). Prints the paths of the files.

    Each file is checked against its known checksum; what is there already is not fetched again.

    Example: bci fetch eegbci --subject 1 2 --out data
    """
    wanted = list(itertools.product(subjects, runs))
    files = [
        fetch_eegbci(subject, run, out, url, timeout_s)
        for subject, run in progress(wanted, "fetching", total=len(wanted), quiet=quiet)
    ]
    result = {
        "url": url,
        "files": [str(file) for file in files],
        "n_files": len(files),
        "n_bytes": sum(file.stat().st_size for file in files),
    }
    emit(result, "\n".join(result["files"]), json_path, quiet)


def fetch_eegbci(subject: int, run: int, out: str | None, url: str, timeout_s: float) -> Path:
    """One file of PhysioNet's eegmmidb, as it lies on disk afterwards.

    Raises
    ------
    ConfigError
        ``url`` is not such a folder.
    SourceError
        It cannot be had, or arrives damaged, or cannot be written.
    """
    import pooch
    import requests
    from mne.datasets import eegbci

    if not url.rstrip("/").endswith("/files/eegmmidb/1.0.0") or not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url {url}: it must be a web address that ends in /files/eegmmidb/1.0.0/")
    pooch.get_logger().setLevel("WARNING")
    pooch.downloaders.DEFAULT_TIMEOUT = timeout_s  # which is there for this; MNE hands none through
    options: dict[str, Any] = {"base_url": url.rstrip("/") + "/", "update_path": False, "verbose": "ERROR"}
    what = f"S{subject:03d}R{run:02d}.edf"
    try:
        (file,) = eegbci.load_data(subject, run, path=out, **options)
    except requests.exceptions.HTTPError as error:
        raise SourceError(f"{what}: {url} answers {str(error)[:3]}; is --url right?") from None
    except requests.exceptions.RequestException as error:
        raise SourceError(
            f"{what}: cannot be had from {url} ({type(error).__name__}); is this machine on the internet? "
            "--url names another server"
        ) from None
    except ValueError:  # of pooch, about the checksum
        raise SourceError(f"{what} arrived damaged from {url} (its checksum is wrong); try again") from None
    except OSError as error:
        raise SourceError(f"{what}: cannot be written ({error.strerror or error}); choose another --out") from None
    return Path(file)
