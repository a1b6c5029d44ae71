"""Tells operators in one line, without secrets, what to do about an error of DynamoDB."""

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from storage.dynamodb.client import TableCallRefused, is_transient
from storage.exceptions import StorageError

GUIDE = "docs/how-to/production.md"
GUIDE_TO_RESTORE = "docs/how-to/backup-and-restore.md"

NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.ProfileNotFound,
)
NO_SUCH_PLACE = (exceptions.EndpointConnectionError, exceptions.SSLError)

REFUSED_CREDENTIALS = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)


def advice(error: StorageError) -> str:
    """Returns what happened and what to do. Omits the values of settings: some are secrets."""
    cause = error.__cause__
    if isinstance(cause, NO_CREDENTIALS):
        return (
            "There are no AWS credentials. Give the task or the instance an IAM role "
            f"({GUIDE}), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if isinstance(cause, NO_SUCH_PLACE):
        return (
            f"DynamoDB cannot be reached ({type(cause).__name__}). Check AWS_REGION and "
            "DYNAMODB_ENDPOINT_URL, and whether this network can reach it."
        )
    if isinstance(cause, ClientError):
        return _of_refusal(error, cause)
    return str(error)


def passes(error: StorageError) -> bool:
    """Whether the error may pass without a change to the setup: DynamoDB is slow, busy or down."""
    cause = error.__cause__
    if isinstance(cause, ClientError):
        return is_transient(cause)
    return not isinstance(cause, BotoCoreError) or isinstance(
        cause,
        (
            exceptions.ConnectTimeoutError,
            exceptions.ReadTimeoutError,
            exceptions.ConnectionClosedError,
        ),
    )


def _of_refusal(error: StorageError, cause: ClientError) -> str:
    code = _code(cause)
    if code in REFUSED_CREDENTIALS:
        return (
            f"AWS does not accept the credentials ({code}). Check the IAM role, or "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and the clock."
        )
    if code == "AccessDeniedException":
        reason = f" {error}" if isinstance(error, TableCallRefused) else ""  # which table
        return (
            f"The credentials do not allow {cause.operation_name} on this table. "
            f"Give them the policy for it: {GUIDE}; for a restore, {GUIDE_TO_RESTORE}.{reason}"
        )
    if code == "ValidationException" and not isinstance(error, TableCallRefused):
        return f"{error} Compare the table with what it must be: manage.py dynamodb_table check."
    return str(error)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
