// Listens, closes on SIGUSR2, and listens there again on the next.
const http = require('node:http');
const cluster = require('node:cluster');
const say = (what) => console.log('SEEN ' + JSON.stringify({ worker: cluster.worker.id, pid: process.pid, ...what }));
const { TEST_PORT, TEST_HOST } = process.env;
const server = http.createServer((request, response) => {
  response.setHeader('connection', 'close');
  response.end(JSON.stringify({ worker: cluster.worker.id, pid: process.pid }));
});
const listen = () => server.listen(Number(TEST_PORT), TEST_HOST, () => say({ listening: true }));
process.on('SIGUSR2', () => {
  if (server.listening) server.close(() => say({ closed: true }));
  else listen();
});
listen();
