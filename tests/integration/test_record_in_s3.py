"""The log in S3, which a server in this process plays."""

import logging
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from happened import began, placed, proposed, reported
from log_contract import LogContract, Open
from upath import UPath

from record.log import Superseded
from record.store_log import StoreLog

BUCKET = "orrery-log"


@pytest.fixture(scope="module", autouse=True)
def s3(s3_environment: None) -> str:
    """A bucket."""
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}"


def folder_of(path: Path) -> UPath:
    return UPath(f"s3://{BUCKET}/{path.name}/log", use_listings_cache=False)


class TestStoreLogInS3(LogContract):
    def opener(self, folder: Path) -> Open:
        return lambda: StoreLog(folder_of(folder))


def test_of_two_drivers_the_one_that_comes_second_is_superseded(tmp_path: Path) -> None:
    one, two = StoreLog(folder_of(tmp_path)), StoreLog(folder_of(tmp_path))
    one.append([began()])
    assert list(two.read()) == [began()]
    two.append([began(2)])
    with pytest.raises(Superseded):
        one.append([proposed(0)])
    two.append([proposed(0)])
    assert list(StoreLog(folder_of(tmp_path)).read()) == [began(), began(2), proposed(0)]


def test_a_long_log_is_read_with_few_requests(tmp_path: Path, caplog) -> None:
    log = StoreLog(folder_of(tmp_path))
    log.append([began(), proposed(0), placed(0)])
    for epoch in range(1, 101):
        log.append([reported(0, epoch)])
    caplog.clear()
    with caplog.at_level(logging.INFO, "werkzeug"):
        assert len(list(StoreLog(folder_of(tmp_path)).read())) == 103
    requests = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
    assert 5 <= len(requests) <= 8, "a listing, and of 101 pieces four"


def test_a_store_that_is_away_is_an_oserror(tmp_path: Path, monkeypatch) -> None:
    log = StoreLog(folder_of(tmp_path))

    def away(*arguments: object, **more: object) -> None:
        raise EndpointConnectionError(endpoint_url="http://s3")

    monkeypatch.setattr(log.folder.fs, "pipe_file", away)
    with pytest.raises(OSError, match="Could not connect"):
        log.append([began()])
