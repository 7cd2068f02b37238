"""Holds Kubernetes' own resources, a JSON list on standard input, to the strict schemas of the three newest versions known."""

import json
import sys

import kubernetes_validate
from kubernetes_validate import utils

versions = sorted({utils.major_minor(version) for version in utils.all_versions()}, key=utils.Version)[-3:]
wrong = 0
for resource in json.load(sys.stdin):
    for version in versions:
        try:
            utils.validate(resource, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            wrong += 1
            where = ".".join(map(str, getattr(error, "path", [])))
            print(f"{resource['kind']} in {version}: {where} {error.message}\n{json.dumps(resource)}", file=sys.stderr)
print(" ".join(versions))
sys.exit(wrong > 0)
