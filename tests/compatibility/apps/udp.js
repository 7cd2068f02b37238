// Answers every datagram with the worker's number.
const dgram = require('node:dgram');
const cluster = require('node:cluster');
const { TEST_TYPE, TEST_PORT, TEST_HOST } = process.env;
const socket = dgram.createSocket({ type: TEST_TYPE, ipv6Only: TEST_TYPE === 'udp6' });
socket.on('message', (message, { port, address }) => socket.send(String(cluster.worker.id), port, address));
socket.on('error', ({ code, errno, syscall }) => console.log('SEEN ' + JSON.stringify({ error: code, errno, syscall })));
socket.bind({ port: Number(TEST_PORT), address: TEST_HOST }, () => {
  console.log('SEEN ' + JSON.stringify({ pid: process.pid, listening: true, address: socket.address() }));
});
