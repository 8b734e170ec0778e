"""Print the JSON schema: ``python -m api > docs/api/spegelconfig-v1alpha1.schema.json``."""

import sys

from api.schema import json_schema

sys.stdout.write(json_schema())
