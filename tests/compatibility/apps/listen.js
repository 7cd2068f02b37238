// Listens to everything that it is told to, one after the other, and says what came of it. Whoever connects is told the
// worker's number.
const net = require('node:net');
const cluster = require('node:cluster');
const say = (what) => console.log('SEEN ' + JSON.stringify({ pid: process.pid, worker: cluster.worker.id, ...what }));

const specs = JSON.parse(process.env.TEST_LISTEN, (key, value) => typeof value === 'string' ? value.replace(/^@/, '\0') : value);
const servers = [];
const next = (index) => {
  if (index === specs.length) return say({ done: true });
  const server = net.createServer((socket) => socket.end(String(cluster.worker.id)));
  servers.push(server);
  let done = (what) => {
    done = () => {};
    say({ index, ...what });
    next(index + 1);
  };
  server.on('error', ({ code, errno, syscall }) => done({ error: code, errno, syscall }));
  server.listen(specs[index], () => done({ address: server.address() }));
};
process.on('SIGUSR2', () => {
  for (const server of servers) server.close();
});
next(0);
