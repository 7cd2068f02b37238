// One answer: which worker gave it. Finishes what it has when it is told to leave, and says so to those who keep connections: Node's
// close() ends the connections that idle at that moment, and serves the others for as long as they ask in time.
const worker = process.env.ALLCORES_WORKER;
let leaving = false;
const server = require('node:http').createServer((request, response) => {
  setTimeout(() => {
    if (leaving) response.setHeader('Connection', 'close');
    response.setHeader('Content-Length', worker.length);
    response.end(worker);
  }, 5);
});
server.listen({ fd: 3 }, () => {
  if (process.env.READY_FD) require('node:fs').writeSync(Number(process.env.READY_FD), '\n');
});
process.on('SIGTERM', () => {
  leaving = true;
  server.close();
});
