const http = require('node:http');
const { Server } = require('socket.io');
const { TEST_PORT, TEST_HOST } = process.env;
const worker = require('node:cluster').worker?.id;
const server = http.createServer();
new Server(server, { transports: ['polling'] }).on('connection', (socket) => {
  socket.on('echo', (text, reply) => reply({ worker, echo: text }));
});
server.listen(Number(TEST_PORT), TEST_HOST, () => console.log('SEEN ' + JSON.stringify({ listening: true })));
