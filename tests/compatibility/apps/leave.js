// Serves, and leaves by its own wish on SIGUSR2.
const http = require('node:http');
const cluster = require('node:cluster');
const say = (what) => console.log('SEEN ' + JSON.stringify({ worker: cluster.worker.id, pid: process.pid, ...what }));
const { TEST_PORT, TEST_HOST, TEST_LEAVE } = process.env;
cluster.worker.on('disconnect', () => say({ disconnected: cluster.worker.exitedAfterDisconnect }));
process.on('exit', (code) => say({ exit: code }));
http.createServer((request, response) => response.end(JSON.stringify({ worker: cluster.worker.id, pid: process.pid })))
  .listen(Number(TEST_PORT), TEST_HOST, () => {
    say({ listening: true });
  });
process.on('SIGUSR2', () => cluster.worker[TEST_LEAVE]());
