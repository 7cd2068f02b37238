// Serves; worker 1 says what no Node says.
const http = require('node:http');
const fs = require('node:fs');
const cluster = require('node:cluster');
const { TEST_PORT, TEST_HOST, TEST_RUDE } = process.env;
if (cluster.worker.id === 1) {
  if (TEST_RUDE === 'garbage') fs.writeSync(3, '\x80\xff no JSON\n');
  if (TEST_RUDE === 'long') process.send('x'.repeat(9 * 1024 * 1024));
}
http.createServer((request, response) => response.end(JSON.stringify({ worker: cluster.worker.id, pid: process.pid })))
  .listen(Number(TEST_PORT), TEST_HOST, () => {
    console.log('SEEN ' + JSON.stringify({ worker: cluster.worker.id, pid: process.pid, listening: true }));
  });
