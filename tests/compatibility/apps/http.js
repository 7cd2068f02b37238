// An ordinary server. Says which worker it is in every answer.
const http = require('node:http');
const https = require('node:https');
const cluster = require('node:cluster');
const fs = require('node:fs');
const say = (what) => console.log('SEEN ' + JSON.stringify({ pid: process.pid, ...what }));

const handler = (request, response) => {
  const [, action, ms] = request.url.split('/');
  const answer = () => response.end(JSON.stringify({ worker: cluster.worker?.id, pid: process.pid }));
  if (action === 'slow') {
    say({ request: request.url });
    return void setTimeout(answer, Number(ms));
  }
  if (action === 'busy') {
    say({ request: request.url });
    for (const end = Date.now() + Number(ms); Date.now() < end; );
  }
  answer();
};
const { TEST_PORT, TEST_HOST, TEST_MAX, TEST_TIMER, TEST_TLS } = process.env;
const server = TEST_TLS
  ? https.createServer({ key: fs.readFileSync(`${TEST_TLS}/key.pem`), cert: fs.readFileSync(`${TEST_TLS}/certificate.pem`), maxVersion: 'TLSv1.2' }, handler)
  : http.createServer(handler);
if (TEST_MAX) server.maxConnections = Number(TEST_MAX);
if (TEST_TIMER) setInterval(() => {}, 1000);
server.on('connection', () => say({ connection: true }));
server.listen({ port: Number(TEST_PORT), host: TEST_HOST }, () => say({ listening: true, worker: cluster.worker?.id }));
