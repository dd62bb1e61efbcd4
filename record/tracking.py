"""MLflow's tracking store by its address: found fit before anything waits for it.

A server is asked as MLflow's own client asks, with the user's login and certificates, but once and
not for long: that client itself would try again for minutes.
"""

import logging
import shlex
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import sqlalchemy
from mlflow.entities import Experiment
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    MLFLOW_TRACKING_CLIENT_CERT_PATH,
    MLFLOW_TRACKING_SERVER_CERT_PATH,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import MlflowHostCreds, http_request
from sqlalchemy.exc import SQLAlchemyError

from datasets.addresses import shown
from datasets.errors import InputError, described

PATIENCE = 10.0
"""Seconds that a tracking server may take to answer at first."""

SEARCH = "/api/2.0/mlflow/experiments/search"

OTHER_METHOD = (301, 302, 303)
"""Answers after which a client goes on to another address, and what it wants to write is lost."""

DATABASES = ("postgresql", "mysql", "mssql")
"""Kinds of databases on a server that MLflow can record in."""

PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-identity",
}
"""Module -> what installs it, as a shell takes it, where that is called otherwise."""

SERVES = "`mlflow server --serve-artifacts --artifacts-destination FOLDER`"
"""The command by which a server takes artifacts itself."""


def check_answers(uri: str) -> None:
    """Checks that a tracking store is there, without making a local database.

    Raises:
        InputError: If it is not.
    """
    if is_server(uri):
        _check_server(uri)
    elif uri.startswith("sqlite:"):
        local_database(uri)
    else:
        connect(uri)


def is_server(uri: str) -> bool:
    """Whether a tracking store is a server of MLflow's."""
    return uri.lower().startswith(("http:", "https:"))


def local_database(uri: str) -> Path | None:
    """The file of a local database; None where the tracking store is something else.

    Raises:
        InputError: If the address leads to another file than it seems to.
    """
    if not uri.startswith("sqlite:///"):
        return None
    written = Path(uri.removeprefix("sqlite:///"))
    meant = Path(sqlalchemy.make_url(uri).database or "")
    # MLflow makes the folder as it is written, and SQLAlchemy the file as it is meant.
    if written.parent != meant.parent:
        raise InputError(
            f"{written.parent}: MLflow's database cannot lie in a folder with a '?', or a '%' "
            "before two digits, in its name: choose another --runs-dir"
        )
    return meant


def connect(uri: str) -> mlflow.MlflowClient:
    """A client of a tracking store.

    Raises:
        InputError: If the store cannot be used.
    """
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)  # it is a bar a file, and they are tiny
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It prints the traceback of what it raises besides.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    try:
        if uri.partition(":")[0].partition("+")[0] in DATABASES:
            _ask_database(uri)
        client = mlflow.MlflowClient(uri)
        client.search_experiments(max_results=1)
    except ImportError as error:
        raise InputError(f"the tracking store {shown(uri)} needs {package_of(error)}") from error
    except (MlflowException, SQLAlchemyError) as error:
        reason = described(error)
        raise InputError(f"cannot use the tracking store {shown(uri)}: {reason}") from error
    return client


def package_of(error: ImportError) -> str:
    """How to install what could not be imported."""
    module = (error.name or "").partition(".")[0]
    if not module:
        return f"a package that cannot be imported here: {described(error)}"
    return f"a package that is not installed: pip install {PACKAGES.get(module, module)}"


def _ask_database(uri: str) -> None:
    """Connects to a database once: MLflow would try again for minutes, without a word."""
    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _check_server(uri: str) -> None:
    """Asks a server once.

    Raises:
        InputError: If it does not answer, or not as MLflow does, or not this user.
    """
    _check_address(uri)
    server = f"the tracking server {shown(uri)}"
    try:
        login = get_default_host_creds(uri)
        answer = _answer(login)
    except (MlflowException, ValueError) as error:
        raise InputError(f"{server} {_why_not(error)}") from error
    if any(there.status_code in OTHER_METHOD for there in answer.history):
        raise InputError(f"{server} sends its visitors to {shown(answer.url)}: give that address")
    said = f"{answer.status_code} {answer.reason}"
    if answer.status_code in (401, 403):
        raise InputError(f"{server} refuses ({said}): {_lacking(uri, login, answer.status_code)}")
    if answer.status_code >= 400:
        raise InputError(f"{server} answers {said}: expected MLflow, and that it is well")
    if "json" not in answer.headers.get("Content-Type", ""):
        raise InputError(f"{server} is not MLflow's: expected the address that its UI has")


def _answer(login: MlflowHostCreds) -> Any:
    """What a server says to the first request of every client, once and soon."""
    return http_request(
        login,
        SEARCH,
        "POST",
        json={"max_results": 1},
        max_retries=0,
        timeout=PATIENCE,
        raise_on_status=False,
    )


def _check_address(uri: str) -> None:
    """Checks what a client would read otherwise than its user, and show some of."""
    try:
        address = urlsplit(uri)
        sound = address.hostname and address.port != 0 and not any(map(str.isspace, uri))
    except ValueError:
        sound = False
    if not sound:
        raise InputError(
            "MLFLOW_TRACKING_URI is no address of a server: expected http://HOST:PORT, without "
            "spaces; in a password / is written %2F, ? %3F, # %23 and @ %40"
        )
    for variable in (MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_TRACKING_CLIENT_CERT_PATH):
        file = variable.get()
        if file and not Path(file).exists():
            raise InputError(f"{variable.name} is {file}: there is no such file")


def _why_not(error: BaseException) -> str:
    """Why a server could not be asked, and what to do."""
    cause = innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted here ({cause.verify_message}): name it, or "
            "the one that signed it, by MLFLOW_TRACKING_SERVER_CERT_PATH=FILE.pem, or trust any "
            "by MLFLOW_TRACKING_INSECURE_TLS=true"
        )
    if isinstance(cause, OSError):
        return (
            f"does not answer ({described(cause)}); start it, or unset MLFLOW_TRACKING_URI to use "
            "the runs folder"
        )
    return f"cannot be asked ({described(cause)})"


def innermost(error: BaseException) -> BaseException:
    """What an error came from at first."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _lacking(uri: str, login: MlflowHostCreds, status: int) -> str:
    """What a user lacks whom a server refuses."""
    address = urlsplit(uri)
    if login.username and login.password:
        given = f"the user {login.username} of MLFLOW_TRACKING_USERNAME"
    elif login.token:
        given = "MLFLOW_TRACKING_TOKEN"
    elif address.username and address.password:
        given = "the user of the address"
    elif login.username:
        return "MLFLOW_TRACKING_PASSWORD is missing"
    else:
        return (
            "a login is missing: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN"
        )
    if status == 401:
        return f"{given} is not known there, or the password is another"
    return f"{given} may not read experiments there: whoever runs it can allow it"


def check_artifacts(client: mlflow.MlflowClient, location: str, more: str = "") -> None:
    """Checks that a server does not have this machine write into files of its own choice, which it
    would look for on its own disk.

    Args:
        client: Of the tracking store.
        location: Where it wants artifacts to go.
        more: What else there is to do about it.

    Raises:
        InputError: If it does.
    """
    if is_server(client.tracking_uri) and urlsplit(location).scheme in ("", "file"):
        raise InputError(
            f"the tracking server {shown(client.tracking_uri)} keeps artifacts on its own disk, "
            f"in {location}, where this machine cannot put them: have it started with {SERVES} "
            f"and without --default-artifact-root{more}"
        )


def check_artifacts_of(client: mlflow.MlflowClient, run_id: str) -> None:
    """Checks a run as `check_artifacts` does an experiment.

    Raises:
        InputError: As it does.
    """
    if is_server(client.tracking_uri):
        more = (
            "; what was recorded before stays where it is: if that is this machine, unset "
            "MLFLOW_TRACKING_URI and give --runs-dir"
        )
        check_artifacts(client, client.get_run(run_id).info.artifact_uri or "", more)


def experiment_named(client: mlflow.MlflowClient, name: str) -> Experiment | None:
    """The experiment of a study; None where there is none.

    Raises:
        InputError: If it was deleted; the message says how to restore it.
    """
    found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage == "active":
        return found
    raise InputError(
        f"the experiment {name} was deleted in MLflow: "
        f"`{by_hand(client, f'experiments restore --experiment-id {found.experiment_id}')}` "
        "brings it back; or choose another --name"
    )


def by_hand(client: mlflow.MlflowClient, command: str) -> str:
    """A command of MLflow's own, for a shell that may not know where a local database is."""
    uri = client.tracking_uri
    known = "" if local_database(uri) is None else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} "
    return f"{known}mlflow {command}"
