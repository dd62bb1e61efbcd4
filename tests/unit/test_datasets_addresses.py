"""What of an address is shown and recorded."""

import pytest

from datasets.addresses import shown
from datasets.errors import described


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://me:s3cret@host:5000/mlflow", "http://***@host:5000/mlflow"),
        ("https://s3cret@host", "https://***@host"),
        ("https://:s3cret@host", "https://***@host"),
        ("postgresql+psycopg2://me:s3cret@db:5432/x", "postgresql+psycopg2://***@db:5432/x"),
        ("postgresql://db/x?user=me&password=s3cret", "postgresql://db/x?user=me&password=***"),
        (
            "mssql+pyodbc:///?odbc_connect=DRIVER%3DPWD%3Ds3cret",
            "mssql+pyodbc:///?odbc_connect=***",
        ),
        ("https://s3/x?X-Amz-Signature=s3cret&n=1", "https://s3/x?X-Amz-Signature=***&n=1"),
        ("--storage=ftp://me:s3cret@host/x", "--storage=ftp://***@host/x"),
        ("http://me:s3@cret@host", "http://***@host"),
        ("http://me:s3/cret@host", "http://***@host"),
        ("http://me:s3#cr?et@host", "http://***@host"),
        ("no http://a:s3cret@x, no http://b:s3cret@y", "no http://***@x, no http://***@y"),
    ],
)
def test_a_password_is_not_shown(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert shown(expected) == expected


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5000",
        "http://[::1]:5000/#/experiments",
        "sqlite:////home/me@work/runs/mlflow.db",
        "s3://bucket/me@work",
        "models:/gnn-gfn2-mu@champion",
        "http://host:5000 has models:/gnn@champion",
        "--split random:0.8,0.1,0.1",
    ],
)
def test_an_address_without_one_stays_as_it_is(address: str) -> None:
    assert shown(address) == address


def test_an_error_is_described_without_the_password_in_it() -> None:
    assert described(ValueError("no http://me:s3cret@host\nmore")) == "no http://***@host"
    missing = FileNotFoundError(2, "No such file", "ftp://me:s3cret@host/x")
    assert described(missing) == "No such file: ftp://***@host/x"
