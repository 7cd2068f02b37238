// Says what a program can see of being a worker.
const cluster = require('node:cluster');
const names = ['NODE_UNIQUE_ID', 'NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE'];
console.log('SEEN ' + JSON.stringify({
  id: cluster.worker.id,
  isWorker: cluster.isWorker,
  isPrimary: cluster.isPrimary,
  left: names.filter((name) => name in process.env),
  send: typeof process.send,
  connected: process.connected,
  channel: typeof process.channel,
  fork: typeof cluster.fork,
  isConnected: cluster.worker.isConnected(),
}));
// Only the channel keeps it alive.
