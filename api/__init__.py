"""The SpegelConfig API: what a Shoot's owner may write, what unset fields mean, what is refused."""

from api.config import SpegelConfig
from api.field import ErrorType, FieldError, InvalidObject
from api.loading import load

__all__ = ["ErrorType", "FieldError", "InvalidObject", "SpegelConfig", "load"]
