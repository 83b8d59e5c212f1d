"""Clients of S3: obstore's for nearly everything, boto3's for listings and odd keys."""

import os
from datetime import timedelta
from typing import Any

import boto3
from botocore.config import Config
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.reasons import NO_CREDENTIALS, first_line

CLOUDS = ("gs", "az")
"""Schemes of the stores beside S3 that obstore reads: Google's and Azure's."""
CloudStore = S3Store | GCSStore | AzureStore
CONTROL_TIMEOUT = timedelta(seconds=30)
"""Per request of a run's own small objects; image fetches have their own deadline."""


def open_bucket(
    bucket: str, config: StoreConfig, *, max_retries: int, timeout: timedelta = CONTROL_TIMEOUT
) -> S3Store:
    """Open one S3 bucket, unprefixed; credentials from the environment, else as boto3 finds them.

    Args:
        max_retries: of obstore itself; 0 where the caller tries again (`again`).
        timeout: of one request, its body included.

    Raises:
        UnreachableError: no credentials anywhere and access is not anonymous.
    """
    options: dict[str, object] = {
        "client_options": {"allow_http": True, "timeout": timeout},
        "retry_config": {"max_retries": max_retries, "retry_timeout": timedelta(seconds=60)},
        "region": config.region or os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    }
    endpoint = _endpoint(config)
    if endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if config.anonymous:
        options["skip_signature"] = True
    elif "AWS_ACCESS_KEY_ID" not in os.environ:
        options["credential_provider"] = _boto3_credentials(bucket)
    return S3Store(bucket, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]


def open_cloud(
    scheme: str,
    bucket: str,
    config: StoreConfig,
    *,
    max_retries: int,
    timeout: timedelta = CONTROL_TIMEOUT,
) -> CloudStore:
    """Open a bucket of any cloud; as `open_bucket`.

    Credentials of Google and Azure come from the environment alone, in their own names
    (GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY and their like).

    Args:
        scheme: s3, gs or az.

    Raises:
        UnreachableError: no credentials anywhere and access is not anonymous.
    """
    if scheme == "s3":
        return open_bucket(bucket, config, max_retries=max_retries, timeout=timeout)
    options: dict[str, Any] = {
        "client_options": {"allow_http": True, "timeout": timeout},
        "retry_config": {"max_retries": max_retries, "retry_timeout": timedelta(seconds=60)},
    }
    options |= {"skip_signature": True} if config.anonymous else {}
    try:
        if scheme == "gs":
            options |= {"base_url": config.gcs_endpoint_url} if config.gcs_endpoint_url else {}
            return GCSStore(bucket, **options)
        options |= {"endpoint": config.azure_endpoint_url} if config.azure_endpoint_url else {}
        options |= {"account_name": config.azure_account} if config.azure_account else {}
        return AzureStore(bucket, **options)
    except BaseError as error:
        raise UnreachableError(f"Cannot use {scheme}://{bucket}: {first_line(error)}.") from error


def _endpoint(config: StoreConfig) -> str | None:
    return config.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")


def _boto3_credentials(bucket: str) -> object:
    # boto3 knows profiles, SSO and instance roles; obstore alone does not know the first two.
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except ValueError as error:
        raise UnreachableError(f"Cannot use s3://{bucket}: {NO_CREDENTIALS}") from error


def boto3_client(config: StoreConfig, *, tries: int = 5) -> Any:
    """Return an S3 client that sends any key as it is.

    Args:
        tries: of one request, by boto3 itself; 1 where the caller tries again.
    """
    from botocore import UNSIGNED

    return boto3.client(
        "s3",
        endpoint_url=config.endpoint_url,
        region_name=config.region,
        config=Config(
            retries={"total_max_attempts": tries, "mode": "standard"},
            connect_timeout=10,
            read_timeout=30,
            max_pool_connections=32,
            signature_version=UNSIGNED if config.anonymous else "s3v4",
            s3={"addressing_style": "path" if _endpoint(config) else "auto"},
        ),
    )
