// Node's own primary, as its documentation has it: N workers of a program, a new one for each that dies, and a
// disconnect on TERM.   usage: node primary.js N PROGRAM
const cluster = require('node:cluster');
const [count, exec] = process.argv.slice(2);
cluster.setupPrimary({ exec, args: [] });
let stopping = false;
const fork = () => cluster.fork();
for (let i = 0; i < Number(count); i++) fork();
cluster.on('message', (worker, message, handle) => handle?.destroy?.());
cluster.on('exit', (worker, code, signal) => {
  console.log(`worker died worker=${worker.id} code=${code} signal=${signal}`);
  // As long as our own first delay after a failure.
  if (!stopping) setTimeout(fork, 100);
});
process.on('SIGTERM', () => {
  stopping = true;
  cluster.disconnect(() => process.exit(0));
});
