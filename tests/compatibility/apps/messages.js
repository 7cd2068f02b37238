// Says all kinds of things to the primary, and serves on.
const http = require('node:http');
const cluster = require('node:cluster');
const say = (what) => console.log('SEEN ' + JSON.stringify({ pid: process.pid, ...what }));
const { TEST_PORT, TEST_HOST } = process.env;
const messages = [
  'text', 'shutdown', 0, -1.5e300, true, null, [], {}, [[[]]], { cmd: 'NODE_' }, { cmd: 7 }, { act: 'suicide' },
  { type: 'axm:monitor', data: {} }, { cmd: 'NODE_UNKNOWN', x: 1 }, { cmd: 'NODE_CLUSTER', act: 'unknown', seq: 12 },
  { cmd: 'NODE_CLUSTER', ack: 123456, seq: 13 }, { allcores: 'nonsense' }, { allcores: { to: 77 } },
  'x'.repeat(300_000), { long: 'é\u2028\0'.repeat(60_000) },
];
const send = (index) => {
  if (index === messages.length) return listen();
  process.send(messages[index], (error) => {
    if (error) say({ error: String(error), index });
    send(index + 1);
  });
};
const listen = () => {
  http.createServer((request, response) => response.end(JSON.stringify({ worker: cluster.worker.id, pid: process.pid })))
    .listen(Number(TEST_PORT), TEST_HOST, () => say({ listening: true }));
};
process.on('message', (message) => say({ message }));
send(0);
