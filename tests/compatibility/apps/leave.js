// Serves; worker 1 leaves by its own wish as soon as it listens.
const http = require('node:http');
const cluster = require('node:cluster');
const say = (what) => console.log('SEEN ' + JSON.stringify({ worker: cluster.worker.id, pid: process.pid, ...what }));
const { TEST_PORT, TEST_HOST, TEST_LEAVE } = process.env;
cluster.worker.on('disconnect', () => say({ disconnected: cluster.worker.exitedAfterDisconnect }));
process.on('exit', (code) => say({ exit: code }));
http.createServer((request, response) => response.end(JSON.stringify({ worker: cluster.worker.id, pid: process.pid })))
  .listen(Number(TEST_PORT), TEST_HOST, () => {
    say({ listening: true });
    if (cluster.worker.id === 1) cluster.worker[TEST_LEAVE]();
  });
