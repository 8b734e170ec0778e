"""What a Shoot is told about its use of registry-spegel. Pure: objects in, findings out."""

from webhook.validation.shoot import EXTENSION_TYPE, Findings, validate

__all__ = ["EXTENSION_TYPE", "Findings", "validate"]
