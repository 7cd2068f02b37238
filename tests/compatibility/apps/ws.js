const { WebSocketServer } = require('ws');
const { TEST_PORT, TEST_HOST } = process.env;
const worker = require('node:cluster').worker?.id;
const server = new WebSocketServer({ port: Number(TEST_PORT), host: TEST_HOST });
server.on('listening', () => console.log('SEEN ' + JSON.stringify({ listening: true })));
server.on('connection', (socket) => {
  socket.on('message', (message) => socket.send(JSON.stringify({ worker, echo: String(message) })));
});
