"""Connects to MLflow's tracking store, and checks that it can be used.

A server is queried as MLflow's own client does, with the user's login and certificates, but once
and with a short timeout: the client itself would retry for minutes.
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
from record.tracking_uri import is_server, local_database

PATIENCE = 10.0
"""Timeout in seconds of the first request to a tracking server."""

SEARCH = "/api/2.0/mlflow/experiments/search"

OTHER_METHOD = (301, 302, 303)
"""HTTP redirects after which a client repeats the request as GET, so that writes are lost."""

DATABASES = ("postgresql", "mysql", "mssql")
"""URI schemes of the remote databases that MLflow supports."""

PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-identity",
}
"""Module -> argument of ``pip install``, for modules whose package has another name."""

SERVES = "`mlflow server --serve-artifacts --artifacts-destination FOLDER`"
"""Command for a tracking server that stores artifacts itself."""


def check_answers(uri: str) -> None:
    """Checks that a tracking store can be used, without creating a local database.

    Args:
        uri: MLflow's tracking URI.

    Raises:
        InputError: If the store cannot be used.
    """
    if is_server(uri):
        _check_server(uri)
    elif uri.startswith("sqlite:"):
        local_database(uri)
    else:
        connect(uri)


def connect(uri: str) -> mlflow.MlflowClient:
    """Returns a client of a tracking store, after a first request.

    Raises:
        InputError: If the store cannot be used.
    """
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)  # one bar per file would be noise
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # This logger prints the traceback of each exception that is raised anyway.
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
    """Returns text for the user on how to install a module that could not be imported."""
    module = (error.name or "").partition(".")[0]
    if not module:
        return f"a package that cannot be imported here: {described(error)}"
    return f"a package that is not installed: pip install {PACKAGES.get(module, module)}"


def _ask_database(uri: str) -> None:
    """Connects to a database once, because MLflow would silently retry for minutes."""
    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _check_server(uri: str) -> None:
    """Queries a tracking server once.

    Raises:
        InputError: If it does not answer, refuses this user, redirects, or is not MLflow.
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
    """Sends the first request of an MLflow client, without retries, and returns the response."""
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
    """Checks the URI and the certificate files of the environment.

    The message does not quote the URI: a client would misread an invalid one, and might show a
    part of a password in it.

    Raises:
        InputError: If the URI is not valid, or a certificate file does not exist.
    """
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
    """Returns text for the user on why a server could not be queried, and what to do."""
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
    """Returns the first exception in an exception's chain of contexts."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _lacking(uri: str, login: MlflowHostCreds, status: int) -> str:
    """Returns text for the user on what is missing or wrong in a refused login.

    Args:
        uri: Tracking URI of the server.
        login: Credentials that were sent.
        status: HTTP status of the response, 401 or 403.
    """
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
    """Checks that a tracking server's artifact location is not a path on the server's own disk.

    The client would write such a path on this machine, where the server does not find the files.

    Args:
        client: Client of the tracking store.
        location: Artifact location that the store returned.
        more: Further advice to append to the message.

    Raises:
        InputError: If the location is a local path of a server.
    """
    if is_server(client.tracking_uri) and urlsplit(location).scheme in ("", "file"):
        raise InputError(
            f"the tracking server {shown(client.tracking_uri)} keeps artifacts on its own disk, "
            f"in {location}, where this machine cannot put them: have it started with {SERVES} "
            f"and without --default-artifact-root{more}"
        )


def check_artifacts_of(client: mlflow.MlflowClient, run_id: str) -> None:
    """Checks that a run's artifact location is not a path on the tracking server's own disk.

    Raises:
        InputError: If it is.
    """
    if is_server(client.tracking_uri):
        more = (
            "; what was recorded before stays where it is: if that is this machine, unset "
            "MLFLOW_TRACKING_URI and give --runs-dir"
        )
        check_artifacts(client, client.get_run(run_id).info.artifact_uri or "", more)


def experiment_named(client: mlflow.MlflowClient, name: str) -> Experiment | None:
    """Returns the experiment of a study; None if there is none.

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
    """Returns an ``mlflow`` command for a shell, with the location of a local database."""
    uri = client.tracking_uri
    known = "" if local_database(uri) is None else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} "
    return f"{known}mlflow {command}"
