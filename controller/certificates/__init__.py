"""The authority of a shoot, the bootstrapper's certificate and that of the nodes, kept fresh."""

from controller.certificates.keeping import EMPTY, Certificates, renew
from controller.certificates.rotation import Rotation

__all__ = ["EMPTY", "Certificates", "Rotation", "renew"]
