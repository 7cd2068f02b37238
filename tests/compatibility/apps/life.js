// An ordinary server: how it begins stands in a file, and what becomes of it is asked for.
const http = require('node:http');
const cluster = require('node:cluster');
const { TEST_PORT, TEST_HOST, TEST_VERSION } = process.env;
const version = TEST_VERSION ? require('node:fs').readFileSync(TEST_VERSION, 'utf8').trim() : 'good';
if (version === 'crash') process.exit(3);
const memory = [];
const server = http.createServer((request, response) => {
  const [, action, number] = request.url.split('/');
  if (action === 'loop') for (;;);
  if (action === 'leak') memory.push(Buffer.alloc(Number(number) << 20, 1));
  if (action === 'deaf') process.on('SIGTERM', () => {}), setInterval(() => {}, 1000);
  const answer = () => response.end(JSON.stringify({ worker: cluster.worker.id }));
  setTimeout(answer, action === 'slow' ? Number(number) : 5);
});
const listen = () => server.listen({ port: Number(TEST_PORT), host: TEST_HOST }, () => {
  console.log('SEEN ' + JSON.stringify({ listening: true }));
});
if (version === 'never') setInterval(() => {}, 1000);
else setTimeout(listen, version === 'slow' ? 3000 : 0);
