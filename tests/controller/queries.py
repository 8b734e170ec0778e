"""Queries of PromQL, as far as finding the names in them goes."""

from __future__ import annotations

import re

_KEYWORDS = {"and", "or", "unless", "by", "on", "without", "bool"}


def metric_names(query: str) -> set[str]:
    """The names of all series that a query selects."""
    query = re.sub(r'"[^"]*"', '""', query)
    query = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", query)
    query = re.sub(r"\b(by|on|without)\s*\([^)]*\)", "", query)
    return {
        word
        for word in re.findall(r"(?<![\w.$])[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", query)
        if word not in _KEYWORDS
    }


def without_variables(query: str) -> str:
    """A query of a dashboard as Prometheus gets it."""
    return query.replace("$__range", "24h").replace("$__rate_interval", "5m").replace("$node", ".*")
