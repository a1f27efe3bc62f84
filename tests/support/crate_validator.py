"""Validates an RO-Crate: ``python crate_validator.py FOLDER``; prints what is wrong.

The validator (roc-validator) wants other versions of rich than what else casarun's tests use, so it
may be in an environment of its own, whose Python is named by CASARUN_CRATE_VALIDATOR. Nothing is
asked of the network: the JSON-LD context is that which the library rocrate carries, with the
terms of workflows as RO-Crate 1.1 has them.
"""

import json
import sys
from importlib import resources
from typing import Any

PROFILES = ("ro-crate-1.1", "process-run-crate-0.5", "workflow-run-crate-0.5")


BIOSCHEMAS = "https://bioschemas.org"
TERMS = {
    "ComputationalWorkflow": f"{BIOSCHEMAS}/ComputationalWorkflow",
    "FormalParameter": f"{BIOSCHEMAS}/FormalParameter",
    "input": f"{BIOSCHEMAS}/ComputationalWorkflow#input",
    "output": f"{BIOSCHEMAS}/ComputationalWorkflow#output",
}


def without_network() -> None:
    """Answer questions for the context of RO-Crate from here, and no others."""
    import requests
    from rocrate_validator.utils.http import HttpRequester

    packaged = resources.files("rocrate") / "data" / "ro-crate.jsonld"
    context = json.loads(packaged.read_text("utf-8"))
    context["@context"] |= TERMS

    def get(self: Any, url: str, **_: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = 200 if url.startswith("https://w3id.org/ro/crate/1.1/") else 404
        response.headers["Content-Type"] = "application/ld+json"
        response._content = json.dumps(context).encode()
        return response

    HttpRequester.get = get


def main() -> int:
    """Print each requirement that is not met; return 1 if there is one."""
    from rocrate_validator import models, services

    without_network()
    wrong = []
    for profile in PROFILES:
        settings = services.ValidationSettings(
            rocrate_uri=sys.argv[1], profile_identifier=profile,
            requirement_severity=models.Severity.REQUIRED,
        )  # fmt: skip
        for issue in services.validate(settings).get_issues():
            wrong.append(f"{profile}: {issue.check.identifier}: {issue.message}")
    print("\n".join(dict.fromkeys(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
