// Holds resources of others, a JSON list on standard input, to their definitions. The first argument is where these are installed.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const folder = pathToFileURL(`${process.argv[2]}/node_modules/@kubernetes-models/`);
const load = (path) => import(new URL(path, folder));
const { PodMonitor } = await load('prometheus-operator/monitoring.coreos.com/v1/index.js');
const { HTTPRoute } = await load('gateway-api/gateway.networking.k8s.io/v1/index.js');
const kinds = { PodMonitor, HTTPRoute };

for (const resource of JSON.parse(readFileSync(0))) {
  const Kind = kinds[resource.kind];
  const { apiVersion } = new Kind({});
  if (resource.apiVersion !== apiVersion) throw new Error(`${resource.kind}: ${resource.apiVersion} is not ${apiVersion}`);
  new Kind(resource).validate();
}
