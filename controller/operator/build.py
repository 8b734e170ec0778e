"""From what is on the seed to what is to be there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.certificates.keeping import renew
from controller.desired import desired, host
from controller.objects import certificate_secrets
from controller.objects.options import Options
from controller.operator.client import Object
from controller.operator.reconciler import Build
from controller.shoot import read


def builder(options: Options) -> Build:
    """Return the function that makes the objects of shoots on a seed with these options."""

    def build(
        extension: Object, cluster: Object, secrets: Sequence[Object], now: datetime
    ) -> Sequence[Object]:
        shoot = read(extension, cluster)
        certificates = renew(
            certificate_secrets.certificates(secrets),
            organization=shoot.namespace,
            host=host(shoot, options),
            rotation=shoot.rotation,
            now=now,
        )
        return desired(shoot, certificates, options).direct()

    return build
